import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitFor } from '../../../test/kit/waiting.ts'
import type { Load } from '../ports.ts'
import { sharingLoad } from './shared-load.ts'

test('polls of a moment share one reading of the load, later ones get another, and a failure is not kept', async () => {
  let asked = 0
  let fails = true
  const status = sharingLoad({
    async load(): Promise<Load> {
      asked += 1
      if (fails) throw new Error('the store is away')
      return { workers: asked, secondsPerUnit: undefined }
    },
  })
  await assert.rejects(Promise.all([status.load(), status.load()]), /away/)
  assert.equal(asked, 1)
  fails = false
  const [first, second] = await Promise.all([status.load(), status.load()])
  assert.deepEqual([first.workers, second.workers, (await status.load()).workers], [2, 2, 2])
  await waitFor(async () => (await status.load()).workers === 3)
})
