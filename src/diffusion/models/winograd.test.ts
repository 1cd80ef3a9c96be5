import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { loadGolden, relativeError } from '../../../test/golden/golden.ts'
import { tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { Weights } from '../checkpoint/weights.ts'
import { Graph, type GraphOptions, replacementInput } from '../graph/graph.ts'
import { TorchGenerator } from '../random/torch-normal.ts'
import { type Feed, Session } from '../runtime/session.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { conv, upsample } from './layers.ts'
import { timestepEmbedding, unetGraph } from './unet.ts'

interface Layer {
  /** [B, C, H, W] */
  readonly x: readonly [number, number, number, number]
  readonly out: number
  /** In the middle of a network's: by default the plain convolution. */
  readonly made?: 'enlarged' | 'with a LoRA' | 'fed'
}

let state = 1
/** From -scale to scale: tens of millions of them are made. */
function noise(dims: readonly number[], scale = 1): Feed {
  const data = new Float32Array(dims.reduce((all, dim) => all * dim, 1))
  for (let at = 0; at < data.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[at] = (state / 2 ** 31 - 1) * scale
  }
  return { data, dims }
}

async function layerFile(t: TestContext, { x: [, channels], out }: Layer): Promise<SafetensorsFile> {
  const path = join(tempFolder(t), 'layer.safetensors')
  const shape = [out, channels, 3, 3]
  const { data } = noise(shape, 1 / Math.sqrt(9 * channels))
  const tensors = new Map([
    ['layer.conv.weight', tensorOf(data as Float32Array, shape, 'F16')],
    ['layer.conv.bias', tensorOf(noise([out]).data as Float32Array, [out], 'F16')],
  ])
  writeSafetensors(path, { tensors, metadata: {} })
  return openSafetensors(path)
}

/** Both ways, and whether the graphs differ. */
async function bothWays(t: TestContext, layer: Layer) {
  const { x: dims, out, made } = layer
  const [batch, channels, height, width] = dims
  const file = await layerFile(t, layer)
  const key = 'layer.conv'
  const feeds: Record<string, Feed> = {
    x: noise(dims),
    ...(made === 'with a LoRA' && {
      [`lora:${key}:down`]: noise([2, channels, 3, 3], 1 / Math.sqrt(9 * channels)),
      [`lora:${key}:up`]: noise([out, 2]),
    }),
    ...(made === 'fed' && { [replacementInput(`${key}.weight`)]: noise([out, channels, 3, 3]) }),
  }
  const options: GraphOptions = {
    ...(made === 'with a LoRA' && { loraRanks: new Map([[key, 2]]) }),
    ...(made === 'fed' && { replaced: new Set([`${key}.weight`]) }),
  }
  const run = async (winogradFrom: number | undefined) => {
    const g = new Graph('layer', new Weights(file), { ...options, winogradFrom })
    const x = g.input('x', dims)
    g.output(
      'y',
      made === 'enlarged'
        ? upsample(g, 'layer', x, 2 * height, 2 * width)
        : conv(g, key, x, out, { kernel: 3 }),
    )
    const graph = g.serialize()
    const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 2 })
    lastFirst(t).after(() => session.release())
    return { graph, y: await session.run(feeds) }
  }
  const [direct, fewer] = [await run(undefined), await run(1)]
  assert.equal(direct.y.length, batch * out * height * width * (made === 'enlarged' ? 4 : 1))
  return { same: Buffer.compare(direct.graph, fewer.graph) === 0, direct: direct.y, fewer: fewer.y }
}

test('a convolution in fewer products gives the same numbers, whatever its size', async (t) => {
  const layers: readonly Layer[] = [
    { x: [1, 8, 16, 16], out: 16 },
    { x: [2, 16, 18, 17], out: 8 },
    { x: [1, 8, 256, 1], out: 8 },
    { x: [2, 24, 32, 32], out: 8 },
    { x: [3, 8, 37, 43], out: 24 },
    { x: [1, 8, 3, 350], out: 8 },
    { x: [2, 8, 8, 9], out: 8, made: 'enlarged' },
    { x: [2, 8, 17, 21], out: 8, made: 'enlarged' },
    { x: [1, 8, 16, 16], out: 16, made: 'with a LoRA' },
    { x: [2, 8, 32, 33], out: 8, made: 'with a LoRA' },
    { x: [1, 8, 8, 16], out: 8, made: 'enlarged' },
    // in bands of tiles
    { x: [1, 32, 720, 530], out: 32 },
    { x: [2, 32, 250, 390], out: 32, made: 'enlarged' },
  ]
  for (const layer of layers) {
    const { same, direct, fewer } = await bothWays(t, layer)
    const error = relativeError(fewer, direct)
    // of float32 products that are added in another order: 4e-7, 1.5e-6 with tiles of 4x4
    assert.ok(error < 3e-6, `${JSON.stringify(layer)}: ${error}`)
    assert.ok(!same, `${JSON.stringify(layer)} was computed both ways`)
  }
})

test('small pictures and weights that are fed are computed as they are', async (t) => {
  for (const layer of [
    { x: [2, 16, 15, 17], out: 16 },
    { x: [1, 16, 32, 32], out: 16, made: 'fed' },
    { x: [1, 16, 7, 9], out: 16, made: 'enlarged' },
  ] satisfies Layer[]) {
    const { same } = await bothWays(t, layer)
    assert.ok(same, JSON.stringify(layer))
  }
})

test('a UNet predicts the same, and a picture does not depend on those beside it', async (t) => {
  const { unet, architecture } = await openDiffusersFolder(
    join(import.meta.dirname, '../../../test/golden/tiny-sd'),
  )
  const golden = await loadGolden('golden')
  const tokens = 77
  const wave = timestepEmbedding(481, 16, architecture.unet)
  const text = golden.floats('unet.text')
  const predict = async (pictures: number, winogradFrom: number | undefined) => {
    const batch = 2 * pictures
    const shape = { batch, pictures, height: 32, width: 40, tokens }
    const graph = unetGraph(architecture.unet, new Weights(unet), shape, { winogradFrom, pieces: true })
    const session = await Session.create(graph, unet.folder, { provider: 'cpu', threads: 2 })
    lastFirst(t).after(() => session.release())
    const times = (data: Float32Array, count: number) =>
      Float32Array.from(Array.from({ length: count }, () => [...data]).flat())
    const samples = Array.from({ length: pictures }, (_, seed) => new TorchGenerator(seed).randn(4 * 32 * 40))
    const sample = Float32Array.from(samples.flatMap((each) => [...each]))
    const prediction = await session.run({
      sample: { data: sample, dims: [pictures, 4, 32, 40] },
      time: { data: times(wave, batch), dims: [batch, 16] },
      text: { data: times(text, pictures), dims: [batch, tokens, 32] },
    })
    return prediction.subarray(0, (2 * prediction.length) / batch)
  }
  const [direct, alone, beside] = [await predict(1, undefined), await predict(1, 16), await predict(3, 16)]
  assert.ok(relativeError(alone, direct) < 1e-5, `relative error ${relativeError(alone, direct)}`)
  assert.notDeepEqual(alone, direct)
  assert.deepEqual(beside, alone)
})
