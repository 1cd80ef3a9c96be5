import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodePrompts } from './encode.ts'
import { weigh } from './weigh.ts'
import type { PromptWindow } from './windows.ts'

const width = 2

/** Looks ids up as [id, id + 0.5], and returns the embeddings unchanged. */
const encoder = {
  width,
  lookUp: async (ids: readonly number[]) => Float32Array.from(ids.flatMap((id) => [id, id + 0.5])),
  run: async (embeddings: Float32Array) => embeddings,
}

function windowOf(ids: readonly number[], multipliers = ids.map(() => 1)): PromptWindow {
  return { ids, multipliers, inversions: [] }
}

test('windows of a prompt follow one another', async () => {
  const { states, tokens, mask } = await encodePrompts([[windowOf([1, 2]), windowOf([3, 4])]], encoder)
  assert.deepEqual([...states], [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5])
  assert.equal(tokens, 4)
  assert.equal(mask, undefined)
})

test('a shorter prompt is filled up and masked', async () => {
  const long = [windowOf([1, 2]), windowOf([3, 4])]
  const { states, tokens, mask } = await encodePrompts([[windowOf([5, 6])], long], encoder)
  assert.deepEqual([...states], [5, 5.5, 6, 6.5, 0, 0, 0, 0, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5])
  assert.equal(tokens, 4)
  assert.deepEqual([...(mask ?? [])], [1, 1, 0, 0, 1, 1, 1, 1])
})

test('vectors take their places', async () => {
  const inversion = { name: 'x', count: 2, width, vectors: Float32Array.from([7, 8, 9, 10]) }
  const window = { ...windowOf([1, 0, 0, 2]), inversions: [{ offset: 1, inversion }] }
  const { states } = await encodePrompts([[window]], encoder)
  assert.deepEqual([...states], [1, 1.5, 7, 8, 9, 10, 2, 2.5])
})

test('vectors of another family are refused', async () => {
  const inversion = { name: 'sdxl-style', count: 1, width: 1280, vectors: new Float32Array(1280) }
  const window = { ...windowOf([1, 0]), inversions: [{ offset: 1, inversion }] }
  await assert.rejects(encodePrompts([[window]], encoder), {
    name: 'CheckpointError',
    message:
      /"sdxl-style" is 1280 wide \(Stable Diffusion XL Refiner\), but the model's text encoder is 2 wide/,
  })
})

test('weights multiply states and keep their mean', () => {
  const weighted = weigh(Float32Array.from([1, 3, 2, 2]), [1, 2])
  // sums: 8 before, 1 + 3 + 4 + 4 = 12 after
  const expected = [1, 3, 4, 4].map((value) => Math.fround((value * 8) / 12))
  for (const [index, value] of weighted.entries()) assert.ok(Math.abs(value - expected[index]!) < 1e-6)
})

test('states without weights are the same bits', () => {
  const states = Float32Array.from([0.1, -0.2, 0.3, 0.4])
  assert.equal(weigh(states, [1, 1]), states)
})
