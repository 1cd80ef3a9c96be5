import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rows } from './parity-rows/loras.ts'

test('text encoder and UNet with LoRAs equal the same change added to the weights', async (t) => {
  let count = 0
  for await (const { row, difference, limit } of rows()) {
    count += 1
    await t.test(row, () => assert.ok(difference <= limit, `relative error ${difference}`))
  }
  assert.equal(count, 20)
})
