import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Weights } from '../../src/diffusion/checkpoint/weights.ts'
import { CheckpointError } from '../../src/diffusion/errors.ts'
import { latentMask } from '../../src/diffusion/image-to-image.ts'
import { vaeDecoderGraph, vaeEncoderGraph } from '../../src/diffusion/models/vae.ts'
import { toPlanes } from '../../src/diffusion/planes.ts'
import { Session } from '../../src/diffusion/runtime/session.ts'
import type { StoredTensor } from '../../src/diffusion/safetensors/safetensors.ts'
import { loadGolden, pixelDifference, relativeError } from './golden.ts'
import { ImageRuns, readRuns } from './image-runs.ts'

/** Equal to diffusers on the same weights and seed: parts within 1e-4, pictures within 2/255 a pixel. */
const partTolerance = 1e-4
const pixelTolerance = 2

let runs: ImageRuns

before(async () => {
  runs = await ImageRuns.open()
})
after(() => runs.close())

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  const error = relativeError(actual, expected)
  assert.ok(error <= partTolerance, `${what}: relative error ${error}`)
}

for (const name of ['wide', 'square']) {
  test(`encoding a picture equals diffusers: ${name}`, async () => {
    const source = runs.source(name)
    const moments = await runs.encode(toPlanes(source), source.height, source.width)
    assertClose(moments, runs.golden.floats(`moments.${name}`), 'moments')
  })
}

for (const [name, height, width] of [
  ['square', 128, 128],
  ['wide', 72, 104],
] as const) {
  test(`encoding ${width}x${height} pixels equals diffusers`, async () => {
    const golden = await loadGolden('golden')
    const planes = toPlanes({ rgb: golden.bytes(`picture.${name}.pixels`), width, height })
    const moments = await runs.encode(planes, height, width)
    const half = moments.length / 2
    assertClose(moments.subarray(0, half), golden.floats(`vae_encode.${name}.mean`), 'mean')
    assertClose(moments.subarray(half), golden.floats(`vae_encode.${name}.logvar`), 'logvar')
  })
}

test('one call of a UNet with nine channels equals diffusers', async () => {
  const both = runs.golden.floats('inpaint9.sample')
  const timestep = runs.golden.floats('inpaint9.1.0.timesteps')[0] as number
  const prediction = await runs.predict(both.slice(0, both.length / 2), timestep, 8, 12)
  assertClose(prediction, runs.golden.floats('inpaint9.noise_pred'), 'prediction')
})

for (const name of Object.keys(readRuns())) {
  test(`a run from a picture equals diffusers: ${name}`, async () => {
    const { golden } = runs
    const painted = await runs.paint(name)
    assertClose(painted.timesteps, golden.floats(`${name}.timesteps`), 'timesteps')
    assertClose(painted.start, golden.floats(`${name}.start`), 'start')
    if (golden.meta.runs[name]!.kind === 'inpaint9') {
      assertClose(painted.extraChannels.subarray(8 * 12), golden.floats(`${name}.masked`), 'masked latents')
    } else {
      assert.equal(painted.extraChannels.length, 0)
    }
    assertClose(painted.latents, golden.floats(`${name}.latents`), 'latents')
    const difference = pixelDifference(painted.pixels, golden.bytes(`${name}.pixels`))
    assert.ok(difference <= pixelTolerance, `a channel differs by ${difference} of 255`)
  })
}

test('the mask of the latents equals diffusers', () => {
  // after the four channels of the sample
  const sample = runs.golden.floats('inpaint9.sample')
  const expected = sample.slice(4 * 8 * 12, 5 * 8 * 12)
  assert.deepEqual(latentMask(runs.golden.bytes('mask'), 96, 64, 8), expected)
  assert.ok(expected.includes(0) && expected.includes(1))
})

/** How other files store the projections of the VAE's attention. */
const layouts: Readonly<Record<string, (entry: [string, StoredTensor]) => [string, StoredTensor]>> = {
  'single files': ([key, tensor]) => {
    const projection = /\.to_(q|k|v|out\.0)\.weight$/.test(key)
    return [key, projection ? { ...tensor, shape: [...tensor.shape, 1, 1] } : tensor]
  },
  'old diffusers folders': ([key, tensor]) => {
    const old: Record<string, string> = { q: 'query', k: 'key', v: 'value', 'out.0': 'proj_attn' }
    return [key.replace(/(?<=\.)to_(q|k|v|out\.0)(?=\.)/, (_, name: string) => old[name]!), tensor]
  },
}
for (const [layout, rewrite] of Object.entries(layouts)) {
  test(`the attention of a VAE is read as ${layout} store it`, async () => {
    const { vae, architecture } = runs.model
    const tensors = new Map([...vae.tensors].map(rewrite))
    assert.notDeepEqual(tensors, vae.tensors)
    const graph = vaeEncoderGraph(architecture.vae, new Weights({ ...vae, tensors }), 64, 64)
    vaeDecoderGraph(architecture.vae, new Weights({ ...vae, tensors }), 8, 8)
    const session = await Session.create(graph, vae.folder, { provider: 'cpu', threads: 1 })
    const data = toPlanes(runs.source('square'))
    const moments = await session.run({ picture: { data, dims: [1, 3, 64, 64] } })
    await session.release()
    assertClose(moments, runs.golden.floats('moments.square'), 'moments')
  })
}

test('a VAE without an encoder decodes, and refuses pictures', () => {
  const { vae, architecture } = runs.model
  const halves = (kept: RegExp) => ({
    ...vae,
    tensors: new Map([...vae.tensors].filter(([key]) => kept.test(key))),
  })
  const decoder = halves(/^(decoder|post_quant_conv)\./)
  vaeDecoderGraph(architecture.vae, new Weights(decoder), 8, 8)
  assert.throws(() => vaeEncoderGraph(architecture.vae, new Weights(decoder), 64, 64), {
    name: CheckpointError.name,
    message: /diffusion_pytorch_model\.safetensors: the VAE has no encoder/,
  })
  const encoder = halves(/^(encoder|quant_conv)\./)
  vaeEncoderGraph(architecture.vae, new Weights(encoder), 64, 64)
})

test('a weight of the encoder that is missing or left over is named', () => {
  const { vae, architecture } = runs.model
  const tensors = new Map(vae.tensors)
  const known = tensors.get('encoder.conv_out.bias')!
  tensors.set('encoder.conv_middle.bias', { ...known, key: 'encoder.conv_middle.bias' })
  const graph = () => vaeEncoderGraph(architecture.vae, new Weights({ ...vae, tensors }), 64, 64)
  assert.throws(graph, { name: CheckpointError.name, message: /no place for encoder\.conv_middle\.bias/ })
  tensors.delete('encoder.conv_out.bias')
  assert.throws(graph, { name: CheckpointError.name, message: /"encoder\.conv_out\.bias" is missing/ })
})
