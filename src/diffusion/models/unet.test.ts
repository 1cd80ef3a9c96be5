import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { loadGolden, relativeError } from '../../../test/golden/golden.ts'
import { floatsOf, readContent, tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { Weights } from '../checkpoint/weights.ts'
import type { Attention, WeightSource } from '../graph/graph.ts'
import { inEightBits } from '../int8/prepare.ts'
import { eightBitWeights } from '../int8/weights.ts'
import { TorchGenerator } from '../random/torch-normal.ts'
import { type Feed, Session } from '../runtime/session.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { timestepEmbedding, type UnetConfig, unetGraph } from './unet.ts'

const folder = join(import.meta.dirname, '../../../test/golden/tiny-sd')
const [tokens, width] = [77, 32]
let model: DiffusersFolder
let latents: Float32Array
let text: Float32Array
let time: Feed
let prediction: Float32Array

before(async () => {
  model = await openDiffusersFolder(folder)
  const golden = await loadGolden('golden')
  latents = golden.floats('unet.16x16.latents')
  text = golden.floats('unet.text')
  prediction = golden.floats('unet.16x16.noise_pred')
  const wave = timestepEmbedding(481, 16, model.architecture.unet)
  time = { data: Float32Array.from([...wave, ...wave]), dims: [2, 16] }
})

async function run(
  t: TestContext,
  feeds: Record<'sample' | 'text', Feed> & { mask?: Feed },
  file: SafetensorsFile = model.unet,
  config: UnetConfig = model.architecture.unet,
) {
  const shape = { batch: 2, height: 16, width: 16, tokens: feeds.text.dims[1] as number }
  const graph = unetGraph(config, new Weights(file), { ...shape, masked: feeds.mask !== undefined })
  const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => session.release())
  return session.run({ ...feeds, time })
}

test('padding that the mask covers changes nothing, whatever it holds', async (t) => {
  const long = new Float32Array(2 * 2 * tokens * width).fill(7)
  const mask = new Int32Array(2 * 2 * tokens)
  for (const row of [0, 1]) {
    long.set(text.subarray(row * tokens * width, (row + 1) * tokens * width), row * 2 * tokens * width)
    mask.fill(1, row * 2 * tokens, row * 2 * tokens + tokens)
  }
  const sample = { data: latents, dims: [2, 4, 16, 16] }
  const plain = await run(t, { sample, text: { data: text, dims: [2, tokens, width] } })
  const padded = { sample, text: { data: long, dims: [2, 2 * tokens, width] } }
  const masked = await run(t, { ...padded, mask: { data: mask, dims: [2, 2 * tokens] } })
  assert.ok(relativeError(masked, plain) < 1e-6, `relative error ${relativeError(masked, plain)}`)
  assert.ok(relativeError(await run(t, padded), plain) > 1e-2, 'without the mask it does change')

  // rows of different lengths: the first is long, the second keeps its mask
  mask.fill(1, 0, 2 * tokens)
  const uneven = await run(t, { ...padded, mask: { data: mask, dims: [2, 2 * tokens] } })
  const half = plain.length / 2
  assert.ok(relativeError(uneven.subarray(half), plain.subarray(half)) < 1e-6)
  assert.ok(relativeError(uneven.subarray(0, half), plain.subarray(0, half)) > 1e-2)
})

test('a UNet for inpainting takes 9 channels and gives 4', async (t) => {
  const { tensors, metadata } = await readContent(model.unet.path)
  const first = tensors.get('conv_in.weight')!
  const [out, , ...kernel] = first.shape as [number, number, number, number]
  // the five more channels count for nothing, so the prediction stays
  const wide = new Float32Array(out * 9 * 9)
  const narrow = floatsOf(first)
  for (let row = 0; row < out; row++) wide.set(narrow.subarray(row * 4 * 9, (row + 1) * 4 * 9), row * 9 * 9)
  tensors.set('conv_in.weight', tensorOf(wide, [out, 9, ...kernel], 'F16'))
  const path = join(tempFolder(t), 'unet.safetensors')
  writeSafetensors(path, { tensors, metadata })

  const pixels = 16 * 16
  const sample = new Float32Array(2 * 9 * pixels).fill(3)
  for (const row of [0, 1]) {
    sample.set(latents.subarray(row * 4 * pixels, (row + 1) * 4 * pixels), row * 9 * pixels)
  }
  const feeds = {
    sample: { data: sample, dims: [2, 9, 16, 16] },
    text: { data: text, dims: [2, tokens, width] },
  }
  const config = { ...model.architecture.unet, in_channels: 9 }
  const actual = await run(t, feeds, await openSafetensors(path), config)
  assert.ok(relativeError(actual, prediction) < 1e-5)
})

test('a graph with an open batch takes any number of rows, with and without a mask', async (t) => {
  const { unet, architecture } = model
  for (const masked of [false, true]) {
    const shape = { batch: 6, height: 16, width: 16, tokens, masked }
    for (const attention of ['fused', 'plain'] as const) {
      const options = { openBatch: true, attention }
      const graph = unetGraph(architecture.unet, new Weights(unet), shape, options)
      const session = await Session.create(graph, unet.folder, { provider: 'cpu', threads: 1 })
      lastFirst(t).after(() => session.release())
      const mask = { data: new Int32Array(2 * tokens).fill(1), dims: [2, tokens] }
      const feeds = {
        sample: { data: latents, dims: [2, 4, 16, 16] },
        text: { data: text, dims: [2, tokens, width] },
        time,
        ...(masked && { mask }),
      }
      const two = await session.run(feeds)
      assert.ok(relativeError(two, prediction) < 1e-5, `masked ${masked}, ${attention}`)
      const thrice = Object.entries(feeds).map(([name, { data, dims }]) => {
        const rows = [data, data, data].flatMap((each) => [...each])
        const long = data instanceof Int32Array ? Int32Array.from(rows) : Float32Array.from(rows)
        return [name, { data: long, dims: [6, ...dims.slice(1)] }]
      })
      const six = await session.run(Object.fromEntries(thrice))
      const part = six.length / 3
      for (const n of [0, 1, 2]) assert.ok(relativeError(six.subarray(n * part, (n + 1) * part), two) < 1e-5)
    }
  }
})

const repeated = (data: Float32Array, times: number) =>
  Float32Array.from(Array.from({ length: times }, () => [...data]).flat())

test('what rows of a picture share is computed once, and gives the same bits', async (t) => {
  const { unet, architecture } = model
  const eight = await inEightBits(unet, tempFolder(t))
  const [one, other] = [latents.subarray(0, 4 * 256), latents.subarray(4 * 256)]
  const mask = { data: new Int32Array(4 * tokens).fill(1).fill(0, 3 * tokens + 9), dims: [4, tokens] }
  const feeds = {
    text: { data: repeated(text, 2), dims: [4, tokens, width] },
    time: { data: repeated(time.data as Float32Array, 2), dims: [4, 16] },
  }
  const exact = {
    file: unet,
    weights: (): WeightSource => new Weights(unet),
    masked: false,
    attention: 'fused' as Attention,
  }
  const ways: readonly (typeof exact & { name: string })[] = [
    { ...exact, name: 'exact' },
    { ...exact, name: 'with a mask', masked: true },
    { ...exact, name: 'without the fused attention', attention: 'plain' },
    { ...exact, name: 'in eight bits', file: eight, weights: () => eightBitWeights(eight) },
  ]
  for (const { name, file, weights, masked, attention } of ways) {
    const predict = async (pictures: number, samples: readonly Float32Array[]) => {
      const shape = { batch: 4, pictures, height: 16, width: 16, tokens, masked }
      const graph = unetGraph(architecture.unet, weights(), shape, { attention })
      const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 2 })
      lastFirst(t).after(() => session.release())
      const data = Float32Array.from(samples.flatMap((each) => [...each]))
      const sample = { data, dims: [samples.length, 4, 16, 16] }
      return session.run({ ...feeds, sample, ...(masked && { mask }) })
    }
    assert.deepEqual(
      await predict(2, [one, other]),
      await predict(4, [one, one, other, other]),
      `two, ${name}`,
    )
    assert.deepEqual(await predict(1, [one]), await predict(4, [one, one, one, one]), `one, ${name}`)
  }
})

test('in pieces of rows it gives the same bits, and takes LoRAs of the layers that would go in pieces', async (t) => {
  const { unet, architecture } = model
  const layer = 'down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj'
  const [rank, side] = [2, 24]
  const generator = new TorchGenerator(1)
  const noise = (dims: number[]): Feed => {
    return { dims, data: generator.randn(dims.reduce((product, dim) => product * dim, 1)) }
  }
  const feeds = {
    sample: noise([2, 4, side, side]),
    text: { data: text, dims: [2, tokens, width] },
    time,
    [`lora:${layer}:down`]: noise([rank, 16]),
    [`lora:${layer}:up`]: noise([128, rank]),
  }
  const shape = { batch: 2, height: side, width: side, tokens }
  for (const loraRanks of [new Map<string, number>(), new Map([[layer, rank]])]) {
    const predict = async (pieces: boolean) => {
      const graph = unetGraph(architecture.unet, new Weights(unet), shape, { pieces, loraRanks })
      const session = await Session.create(graph, unet.folder, { provider: 'cpu', threads: 1 })
      lastFirst(t).after(() => session.release())
      const fed = Object.entries(feeds).filter(([name]) => loraRanks.size > 0 || !name.startsWith('lora:'))
      return { nodes: graph.byteLength, prediction: await session.run(Object.fromEntries(fed)) }
    }
    const [whole, pieces] = [await predict(false), await predict(true)]
    assert.ok(pieces.nodes > whole.nodes, 'there are pieces')
    assert.deepEqual(pieces.prediction, whole.prediction)
  }
})
