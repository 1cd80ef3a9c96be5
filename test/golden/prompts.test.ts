import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { openDiffusersFolder } from '../../src/diffusion/checkpoint/diffusers-folder.ts'
import { Weights } from '../../src/diffusion/checkpoint/weights.ts'
import { clipTextGraph } from '../../src/diffusion/models/clip-text.ts'
import { parseAttention } from '../../src/diffusion/prompt/attention.ts'
import { layOutPrompt } from '../../src/diffusion/prompt/windows.ts'
import { ClipTokenizer } from '../../src/diffusion/tokenizer/clip-tokenizer.ts'
import { type Golden, loadGolden } from './golden.ts'
import { goldenInversions, type PromptMeta, rows } from './parity-rows/prompts.ts'

const modelDir = join(import.meta.dirname, 'tiny-sd')
let golden: Golden<PromptMeta>
before(async () => {
  golden = await loadGolden('prompt-golden')
})

test('prompts split by weight as AUTOMATIC1111 has it', () => {
  for (const { prompt, stretches } of golden.meta.attention) {
    const found = parseAttention(prompt).map(({ text, weight }) => [text, weight])
    assert.deepEqual(found, stretches, JSON.stringify(prompt))
  }
})

test('windows, weights and places of embeddings as AUTOMATIC1111 has them', async () => {
  const tokenizer = await ClipTokenizer.load(join(modelDir, 'tokenizer'))
  const inversions = await goldenInversions()
  for (const { name, prompt, windows } of golden.meta.cases) {
    const found = layOutPrompt(prompt, tokenizer, inversions).map((window) => ({
      ...window,
      inversions: window.inversions.map(({ offset, inversion }) => [offset, inversion.name]),
    }))
    assert.deepEqual(found, windows, name)
  }
})

test('states equal transformers and diffusers', async () => {
  const seen: string[] = []
  for await (const { row, difference, limit } of rows()) {
    assert.ok(difference <= limit, `${row}: relative error ${difference}`)
    seen.push(row)
  }
  assert.equal(seen.length, golden.meta.cases.length + 2)
})

test('clip skip beyond the layers is refused, and skipped layers are checked like others', async () => {
  const { text, architecture } = await openDiffusersFolder(modelDir)
  for (const skip of [0, 3, 1.5]) {
    assert.throws(() => clipTextGraph(architecture.text, new Weights(text), 1, { skip }), {
      name: 'CheckpointError',
      message: new RegExp(`clip skip ${skip}; the text encoder has 2 layers, so it must be 1 to 2`),
    })
  }
  const [key] = [...text.tensors.keys()].filter((name) => name.endsWith('layers.1.mlp.fc1.weight'))
  const damaged = { ...text, tensors: new Map(text.tensors) }
  damaged.tensors.delete(key as string)
  assert.throws(
    () => clipTextGraph(architecture.text, new Weights(damaged), 1, { skip: 2 }),
    /layers\.1\.mlp\.fc1\.weight" is missing/,
  )
})
