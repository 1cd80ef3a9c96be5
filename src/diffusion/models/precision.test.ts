import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { loadGolden, relativeError } from '../../../test/golden/golden.ts'
import { floatsOf, readContent, tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { Weights } from '../checkpoint/weights.ts'
import type { GraphOptions } from '../graph/graph.ts'
import { openLora } from '../lora/lora.ts'
import { planLoras } from '../lora/plan.ts'
import { type Feed, Session } from '../runtime/session.ts'
import { type Dtype, openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { attentionProbe, probeFeeds, probeLimit } from './attention-probe.ts'
import { clipTextGraph } from './clip-text.ts'
import { timestepEmbedding, unetGraph } from './unet.ts'
import { vaeDecoderGraph } from './vae.ts'

/**
 * Half precision keeps 11 bits, 5e-4 of a number; through the layers of tiny-sd that adds up to 6e-4 (UNet), 9e-4
 * (text) and 2e-3 (VAE) of the largest value. A part that is computed wrongly is off by 1e-1 and more.
 */
const halfTolerance = 5e-3

const folder = join(import.meta.dirname, '../../../test/golden')
let model: DiffusersFolder
let call: Record<'sample' | 'time' | 'text', Feed>
let prediction: Float32Array

before(async () => {
  model = await openDiffusersFolder(join(folder, 'tiny-sd'))
  const golden = await loadGolden('golden')
  const wave = timestepEmbedding(481, 16, model.architecture.unet)
  prediction = golden.floats('unet.16x16.noise_pred')
  call = {
    sample: { data: golden.floats('unet.16x16.latents'), dims: [2, 4, 16, 16] },
    time: { data: Float32Array.from([...wave, ...wave]), dims: [2, 16] },
    text: { data: golden.floats('unet.text'), dims: [2, 77, 32] },
  }
})

async function run(t: TestContext, graph: Uint8Array, file: SafetensorsFile, feeds: Record<string, Feed>) {
  const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => session.release())
  return session.run(feeds)
}

function predict(
  t: TestContext,
  file: SafetensorsFile,
  options: GraphOptions = {},
  feeds: Record<string, Feed> = {},
) {
  const shape = { batch: 2, height: 16, width: 16, tokens: 77 }
  const graph = unetGraph(model.architecture.unet, new Weights(file), shape, options)
  return run(t, graph, file, { ...call, ...feeds })
}

/** The UNet with the same numbers, rounded to a dtype. */
async function unetAs(t: TestContext, dtype: Dtype): Promise<SafetensorsFile> {
  const { tensors, metadata } = await readContent(model.unet.path)
  const path = join(tempFolder(t), 'unet.safetensors')
  const rounded = [...tensors].map(
    ([key, tensor]) => [key, tensorOf(floatsOf(tensor), tensor.shape, dtype)] as const,
  )
  writeSafetensors(path, { tensors: new Map(rounded), metadata })
  return openSafetensors(path)
}

for (const dtype of ['F32', 'BF16', 'F16'] as const) {
  for (const precision of ['float32', 'float16'] as const) {
    test(`a UNet stored as ${dtype} is computed in ${precision}`, async (t) => {
      // bfloat16 has 8 bits: its roundings of the weights are compared with themselves
      const file = await unetAs(t, dtype)
      const expected = dtype === 'BF16' ? await predict(t, file) : prediction
      const error = relativeError(await predict(t, file, { precision }), expected)
      assert.ok(error < (precision === 'float32' ? 1e-5 : halfTolerance), `relative error ${error}`)
      if (dtype === 'BF16') assert.ok(relativeError(expected, prediction) < 0.1)
    })
  }
}

test('attention of plain operators equals the fused one', async (t) => {
  const plain = { attention: 'plain' } as const
  assert.ok(relativeError(await predict(t, model.unet, plain), prediction) < 1e-5)
  const embeddings = {
    data: Float32Array.from({ length: 77 * 32 }, (_, i) => Math.sin(i)),
    dims: [1, 77, 32],
  }
  const states = (options: GraphOptions) => {
    const graph = clipTextGraph(model.architecture.text, new Weights(model.text), 1, options)
    return run(t, graph, model.text, { embeddings })
  }
  const fused = await states({})
  assert.ok(relativeError(await states(plain), fused) < 1e-5)
  assert.ok(relativeError(await states({ ...plain, precision: 'float16' }), fused) < halfTolerance)
})

test('the probe of attention finds nothing on a CPU', async (t) => {
  for (const precision of ['float32', 'float16'] as const) {
    const difference = await run(t, attentionProbe(precision), model.text, probeFeeds())
    assert.ok(difference.every((value) => Math.abs(value) < probeLimit / 5))
  }
})

test('half precision: text encoder, VAE and LoRAs', async (t) => {
  const { architecture, text, vae, unet } = model
  const compare = async (what: string, make: (options: GraphOptions) => Promise<Float32Array>) => {
    const error = relativeError(await make({ precision: 'float16' }), await make({ precision: 'float32' }))
    assert.ok(error > 0 && error < halfTolerance, `${what}: relative error ${error}`)
  }
  const waves = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i))
  const embeddings = { data: waves(77 * 32), dims: [1, 77, 32] }
  await compare('text', (options) =>
    run(t, clipTextGraph(architecture.text, new Weights(text), 1, options), text, { embeddings }),
  )
  const latents = (await loadGolden('golden')).floats('vae_decode.9x13.latents')
  const latent = { data: latents, dims: [1, 4, 9, 13] }
  await compare('VAE', (options) =>
    run(t, vaeDecoderGraph(architecture.vae, new Weights(vae), 9, 13, options), vae, { latent }),
  )
  const loras = await Promise.all(
    ['kohya', 'ldm', 'loha', 'full'].map((name) =>
      openLora(join(folder, `parity/loras/${name}.safetensors`), model),
    ),
  )
  const {
    ranks: loraRanks,
    replaced,
    feeds,
  } = await planLoras(
    loras.map((lora) => ({ lora, strengths: { text: 1, unet: 1 } })),
    'unet',
    unet,
  )
  await compare('LoRAs', (options) => predict(t, unet, { ...options, loraRanks, replaced }, feeds))
})
