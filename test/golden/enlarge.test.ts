import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rows } from './parity-rows/enlarge.ts'

test('upscalers and TAESD equal their own implementations, under each naming of their weights', async (t) => {
  let count = 0
  for await (const { row, difference, limit } of rows()) {
    count += 1
    await t.test(row, () => assert.ok(difference <= limit, `relative error ${difference}`))
  }
  assert.equal(count, 9)
})
