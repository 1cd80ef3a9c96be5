import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import {
  type Tensor,
  tensorOf,
  writeSafetensors,
  writeVariant,
} from '../../../test/golden/parity/variants.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { openModel } from '../checkpoint/model.ts'
import { Weights } from '../checkpoint/weights.ts'
import { clipTextGraph } from '../models/clip-text.ts'
import { Session } from '../runtime/session.ts'
import { NumberReader } from '../safetensors/numbers.ts'
import { type Lora, openLora } from './lora.ts'
import { noLoras, planBytes, planLoras } from './plan.ts'

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
  assert.equal(planBytes(uses, 'unet'), bytes + 4 * 16, 'known before anything is read')
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

test('where one of several LoRAs is no pair, all of them go into a new weight, each changed alone', async (t) => {
  const path = join(tempFolder(t), 'whole.safetensors')
  const third = (size: number, shape: readonly number[]) =>
    tensorOf(new Float32Array(size).fill(3), shape, 'F16')
  writeSafetensors(path, { tensors: new Map([[`unet.${layer}.diff`, third(256, [16, 16])]]), metadata: {} })
  const uses = [
    { lora: await openLora(path, model), strengths: both(0.5) },
    { lora: await loraOf(t, 2, 2, { alpha: 1 }), strengths: both(-1) },
  ]
  const { ranks, feeds, replaced, bytes } = await planLoras(uses, 'unet', model.unet)
  assert.equal(ranks.size, 0)
  assert.deepEqual([...replaced], [`${layer}.weight`])
  assert.equal(bytes, 256 * 4)
  assert.ok(planBytes(uses, 'unet') >= bytes)
  const { tensors } = model.unet
  const stored = await NumberReader.with(model.unet, (reader) => reader.read(tensors.get(`${layer}.weight`)!))
  const fed = feeds[`weight:${layer}.weight`]!
  assert.deepEqual(fed.dims, [16, 16])
  // 0.5 * 3 of the whole difference, -1 * 1 / 2 * 2 * (2 * 2) of the pair
  for (const [i, value] of stored.entries()) assert.ok(Math.abs(fed.data[i]! - (value + 1.5 - 4)) < 1e-5)
})

test('an inpainting model: its first convolution has more channels, which a LoRA leaves as they are', async (t) => {
  const folder = tempFolder(t)
  const wide = await openModel(await writeVariant(folder, 'inpainting'))
  const matrices = (names: readonly (readonly [string, readonly number[]])[]) => {
    const path = join(folder, `${names[0]![0]}.safetensors`)
    const tensors = new Map(
      names.map(([name, shape]) => {
        const size = shape.reduce((product, dim) => product * dim, 1)
        return [`lora_unet_conv_in.${name}`, tensorOf(new Float32Array(size).fill(1), shape, 'F32')]
      }),
    )
    writeSafetensors(path, { tensors, metadata: {} })
    return path
  }
  const pair = matrices([
    ['lora_down.weight', [4, 4, 3, 3]],
    ['lora_up.weight', [16, 4, 1, 1]],
  ])
  const plan = async (path: string) =>
    planLoras([{ lora: await openLora(path, wide), strengths: both(1) }], 'unet', wide.unet)
  const down = (await plan(pair)).feeds['lora:conv_in:down']!
  assert.deepEqual(down.dims, [4, 9, 3, 3])
  assert.deepEqual([...down.data.slice(0, 81)], [...Array(36).fill(1), ...Array(45).fill(0)])
  const whole = (await plan(matrices([['diff', [16, 4, 3, 3]]]))).feeds['weight:conv_in.weight']!
  const { tensors } = wide.unet
  const stored = await NumberReader.with(wide.unet, (reader) => reader.read(tensors.get('conv_in.weight')!))
  for (const [i, value] of stored.entries())
    assert.equal(whole.data[i], Math.fround(value + (i % 81 < 36 ? 1 : 0)))
  const trained = matrices([
    ['lora_up.weight', [16, 4, 1, 1]],
    ['lora_down.weight', [4, 9, 3, 3]],
  ])
  assert.equal((await plan(trained)).feeds['lora:conv_in:down']?.data[80], 1)
  await assert.rejects(openLora(trained, model), /the LoRA is made for inpainting models/)
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
    const session = await Session.create(graph, model.text.folder, { provider: 'cpu', threads: 1 })
    lastFirst(t).after(() => session.release())
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
