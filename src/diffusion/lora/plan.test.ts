import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { type Tensor, tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { tempFolder } from '../../../test/temp-folder.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { Weights } from '../checkpoint/weights.ts'
import { clipTextGraph } from '../models/clip-text.ts'
import { Session } from '../runtime/session.ts'
import { type Lora, openLora } from './lora.ts'
import { noLoras, planLoras } from './plan.ts'

const golden = join(import.meta.dirname, '../../../test/golden')
const layer = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q'
let model: DiffusersFolder

before(async () => {
  model = await openDiffusersFolder(join(golden, 'tiny-sd'))
})

/** A LoRA of one layer [16, 16] whose matrices hold one number. */
async function loraOf(
  t: TestContext,
  rank: number,
  value: number,
  { key = layer, alpha = rank } = {},
): Promise<Lora> {
  const path = join(tempFolder(t), 'some.safetensors')
  const filled = (shape: readonly number[], number: number): Tensor => {
    return tensorOf(
      new Float32Array(shape.reduce((product, dim) => product * dim, 1)).fill(number),
      shape,
      'F32',
    )
  }
  const tensors = new Map([
    [`unet.${key}.lora_A.weight`, filled([rank, 16], value)],
    [`unet.${key}.lora_B.weight`, filled([16, rank], value)],
    [`unet.${key}.alpha`, filled([], alpha)],
  ])
  writeSafetensors(path, { tensors, metadata: {} })
  return openLora(path, model)
}

const both = (strength: number) => ({ text: strength, unet: strength })

test('LoRAs stand side by side, rounded up to a power of two', async (t) => {
  const uses = [
    { lora: await loraOf(t, 3, 1), strengths: both(2) },
    { lora: await loraOf(t, 2, 10, { alpha: 1 }), strengths: both(-1) },
  ]
  const { ranks, feeds, replaced, bytes } = await planLoras(uses, 'unet', model.unet)
  assert.deepEqual([...ranks], [[layer, 8]])
  assert.deepEqual(feeds[`lora:${layer}:down`]?.dims, [8, 16])
  const column = (name: string, from: number, step: number) =>
    Array.from({ length: 8 }, (_, i) => feeds[name]?.data[from + i * step])
  assert.deepEqual(column(`lora:${layer}:down`, 0, 16), [1, 1, 1, 10, 10, 0, 0, 0])
  assert.deepEqual(feeds[`lora:${layer}:up`]?.dims, [16, 8])
  assert.deepEqual(column(`lora:${layer}:up`, 0, 1), [2, 2, 2, -5, -5, 0, 0, 0])
  assert.equal(replaced.size, 0)
  assert.equal(bytes, 2 * 16 * 8 * 4)
  assert.deepEqual(await planLoras(uses, 'text', model.text), noLoras)
})

test('the signature tells structures apart, not strengths or contents', async (t) => {
  const signature = async (rank: number, strength: number, key = layer) => {
    const lora = await loraOf(t, rank, 1, { key })
    return (await planLoras([{ lora, strengths: both(strength) }], 'unet', model.unet)).signature
  }
  assert.equal(await signature(1, 0), '')
  assert.notEqual(await signature(1, 1), '')
  assert.equal(await signature(1, 1), await signature(4, -0.3))
  assert.notEqual(await signature(4, 1), await signature(5, 1))
  assert.notEqual(await signature(4, 1), await signature(4, 1, layer.replace('to_q', 'to_v')))
})

test('a file that changed since it was opened is not applied', async (t) => {
  const lora = await loraOf(t, 4, 1)
  writeSafetensors(lora.path, { tensors: new Map(), metadata: {} })
  await assert.rejects(
    planLoras([{ lora, strengths: both(1) }], 'unet', model.unet),
    /changed while it was in use/,
  )
})

test('layers that clip skip leaves out do not disturb', async (t) => {
  const lora = await openLora(join(golden, 'parity/loras/ldm.safetensors'), model)
  const { ranks, feeds } = await planLoras([{ lora, strengths: both(1) }], 'text', model.text)
  assert.ok(
    [...ranks.keys()].every((key) => key.includes('layers.1.')),
    'the last layer only',
  )
  const run = async (skip: number, with_: typeof feeds) => {
    const loraRanks = with_ === feeds ? ranks : new Map()
    const graph = clipTextGraph(model.architecture.text, new Weights(model.text), 1, { skip, loraRanks })
    const session = await Session.create(graph, model.text.folder, { provider: 'cpu' })
    t.after(() => session.release())
    const data = Float32Array.from({ length: 77 * 32 }, (_, i) => Math.sin(i))
    return session.run({ embeddings: { data, dims: [1, 77, 32] }, ...with_ })
  }
  assert.notDeepEqual(await run(1, feeds), await run(1, {}))
  assert.deepEqual(await run(2, feeds), await run(2, {}))
})

test('a rank that no layer takes is an error', () => {
  const loraRanks = new Map([['no.such.layer', 4]])
  assert.throws(
    () => clipTextGraph(model.architecture.text, new Weights(model.text), 1, { loraRanks }),
    /no layer "no\.such\.layer" for a LoRA/,
  )
})
