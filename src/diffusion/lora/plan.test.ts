import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { Weights } from '../checkpoint/weights.ts'
import { clipTextGraph } from '../models/clip-text.ts'
import { Session } from '../runtime/session.ts'
import { type Lora, openLora } from './lora.ts'
import { planLoras } from './plan.ts'

const golden = join(import.meta.dirname, '../../../test/golden')

function loraOf(key: string, rank: number, value: number, scale = 1): Lora {
  const layer = {
    key,
    rank,
    scale,
    inner: [2],
    out: 3,
    down: new Float32Array(rank * 2).fill(value),
    up: new Float32Array(3 * rank).fill(value),
  }
  return { name: 'made up', path: 'made up', layers: { text: [], unet: [layer] } }
}

test('LoRAs stand side by side, rounded up to a power of two', () => {
  const uses = [
    { lora: loraOf('a', 3, 1), strength: 2 },
    { lora: loraOf('a', 2, 10, 0.5), strength: -1 },
  ]
  const { ranks, feeds } = planLoras(uses, 'unet')
  assert.deepEqual([...ranks], [['a', 8]])
  assert.deepEqual(feeds['lora:a:down']?.dims, [8, 2])
  assert.deepEqual([...feeds['lora:a:down']!.data], [1, 1, 1, 1, 1, 1, 10, 10, 10, 10, 0, 0, 0, 0, 0, 0])
  assert.deepEqual(feeds['lora:a:up']?.dims, [3, 8])
  assert.deepEqual([...feeds['lora:a:up']!.data.slice(0, 8)], [2, 2, 2, -5, -5, 0, 0, 0])
  assert.deepEqual(planLoras(uses, 'text'), { ranks: new Map(), feeds: {}, signature: '' })
})

test('the signature tells structures apart, not strengths or contents', () => {
  const signature = (rank: number, strength: number, key = 'a') =>
    planLoras([{ lora: loraOf(key, rank, 1), strength }], 'unet').signature
  assert.equal(signature(1, 0), '')
  assert.notEqual(signature(1, 1), '')
  assert.equal(signature(1, 1), signature(4, -0.3))
  assert.notEqual(signature(4, 1), signature(5, 1))
  assert.notEqual(signature(4, 1), signature(4, 1, 'b'))
})

test('layers that clip skip leaves out do not disturb', async (t) => {
  const model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  const lora = await openLora(join(golden, 'parity/loras/ldm.safetensors'), model)
  const { ranks, feeds } = planLoras([{ lora, strength: 1 }], 'text')
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

test('a rank that no layer takes is an error', async () => {
  const model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  const loraRanks = new Map([['no.such.layer', 4]])
  assert.throws(
    () => clipTextGraph(model.architecture.text, new Weights(model.text), 1, { loraRanks }),
    /no layer "no\.such\.layer" for a LoRA/,
  )
})
