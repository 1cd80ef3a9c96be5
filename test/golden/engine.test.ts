import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { readArchitecture } from '../../src/diffusion/checkpoint/diffusers-folder.ts'
import { type Engine, openEngine } from '../../src/diffusion/engine.ts'
import { timestepEmbedding } from '../../src/diffusion/models/unet.ts'
import { TorchGenerator } from '../../src/diffusion/random/torch-normal.ts'
import { ClipTokenizer } from '../../src/diffusion/tokenizer/clip-tokenizer.ts'
import { lastFirst, tempFolder } from '../cleanup.ts'
import {
  engineRequestOf,
  type Golden,
  loadGolden,
  pixelDifference,
  relativeError,
  type TinyMeta,
} from './golden.ts'
import { paddedIds } from './padded-ids.ts'
import { rows } from './parity-rows/winograd.ts'

/** Equal to diffusers on the same weights and seed: parts within 1e-4, pictures within 2/255 a pixel. */
const partTolerance = 1e-4
const pixelTolerance = 2

const modelDir = join(import.meta.dirname, 'tiny-sd')
let golden: Golden<TinyMeta>
let model: Engine

before(async () => {
  golden = await loadGolden('golden')
  model = await openEngine({ model: modelDir, provider: 'cpu', threads: 1 })
})
after(() => model.close())

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  const error = relativeError(actual, expected)
  assert.ok(error <= partTolerance, `${what}: relative error ${error}`)
}

test('noise equals torch.randn on the CPU', () => {
  for (const seed of [0, 7, 2 ** 32 - 1]) {
    for (const count of [16, 17, 100, 1024]) {
      assertClose(
        new TorchGenerator(seed).randn(count),
        golden.floats(`randn.${seed}.${count}`),
        `seed ${seed} count ${count}`,
      )
    }
  }
})

test('tokens equal CLIPTokenizer', async (t) => {
  const expected = golden.integers('tokens')
  const [ready, built] = await Promise.all([tokenizerFrom(t, []), tokenizerFrom(t, ['tokenizer.json'])])
  for (const [row, { name, prompt }] of golden.meta.prompts.entries()) {
    const ids = [...expected.subarray(row * 77, (row + 1) * 77)]
    assert.deepEqual(paddedIds(ready, prompt), ids, `${name} by tokenizer.json`)
    assert.deepEqual(paddedIds(built, prompt), ids, `${name} by vocab.json and merges.txt`)
  }
})

async function tokenizerFrom(t: TestContext, without: readonly string[]): Promise<ClipTokenizer> {
  const folder = tempFolder(t)
  await cp(join(modelDir, 'tokenizer'), folder, { recursive: true })
  for (const name of without) await rm(join(folder, name))
  return ClipTokenizer.load(folder)
}

test('text embeddings equal transformers', async () => {
  const byName = new Map(golden.meta.prompts.map(({ name, prompt }) => [name, prompt]))
  const prompts = golden.meta.text_embeddings_rows.map((name) => byName.get(name) as string)
  const { tokenizer } = model
  const networks = model.networks()
  // as diffusers, which cuts at 77 tokens
  const rows = prompts.map(async (prompt) =>
    networks.encodeText(await networks.lookUp(paddedIds(tokenizer, prompt)), 1),
  )
  const states = (await Promise.all(rows)).flatMap((row) => [...row])
  assertClose(states, golden.floats('text_embeddings'), 'text embeddings')
})

test('timestep sinusoids equal diffusers', async () => {
  const { unet } = await readArchitecture(modelDir)
  const width = unet.block_out_channels[0] as number
  const waves = golden.floats('time.waves')
  for (const [row, timestep] of golden.integers('time.timesteps').entries()) {
    const expected = waves.subarray(row * width, (row + 1) * width)
    assertClose(timestepEmbedding(timestep, width, unet), expected, `timestep ${timestep}`)
  }
})

for (const [height, width] of [
  [16, 16],
  [12, 20],
  [9, 13],
] as const) {
  test(`one UNet call on a ${height}x${width} latent equals diffusers`, async () => {
    const name = `unet.${height}x${width}`
    const [latents, text] = [golden.floats(`${name}.latents`), golden.floats('unet.text')]
    const timestep = golden.integers(`${name}.timestep`)[0] as number
    const expected = golden.floats(`${name}.noise_pred`)
    const half = <T extends Float32Array>(values: T, row: number) =>
      values.slice((row * values.length) / 2, ((row + 1) * values.length) / 2)
    for (const row of [0, 1]) {
      const actual = await model
        .networks()
        .predict(half(latents, row), timestep, { states: half(text, row), tokens: 77 }, { height, width })
      assertClose(actual, half(expected, row), `row ${row}`)
    }
  })
}

for (const [height, width] of [
  [16, 16],
  [9, 13],
] as const) {
  test(`decoding a ${height}x${width} latent equals diffusers`, async () => {
    const name = `vae_decode.${height}x${width}`
    const scaled = golden.floats(`${name}.latents`).map((value) => value * 0.18215)
    assertClose(
      await model.networks().decode(scaled, { height, width }),
      golden.floats(`${name}.image`),
      'picture',
    )
  })
}

for (const name of ['square', 'wide', 'unguided', 'v_prediction']) {
  test(`a whole 20-step picture equals diffusers: ${name}`, async (t) => {
    const { request } = golden.meta.pictures[name]!
    const engine = request.prediction_type ? await withPrediction(t, request.prediction_type) : model
    const picture = await engine.generate(engineRequestOf(request))
    const difference = pixelDifference(picture.rgb, golden.bytes(`picture.${name}.pixels`))
    assert.ok(difference <= pixelTolerance, `a channel differs by ${difference} of 255`)
  })
}

test('with convolutions in fewer products all of it equals diffusers, too', async (t) => {
  let count = 0
  for await (const { row, difference, limit } of rows()) {
    count += 1
    await t.test(row, () => assert.ok(difference <= limit, `${difference}`))
  }
  assert.equal(count, 6)
})

/** A copy of the model whose scheduler config states another kind of prediction. */
async function withPrediction(t: TestContext, kind: string): Promise<Engine> {
  const folder = tempFolder(t)
  await cp(modelDir, folder, { recursive: true })
  const file = join(folder, 'scheduler/scheduler_config.json')
  const config = await readFile(file, 'utf8')
  await writeFile(file, config.replace(/"prediction_type": "\w+"/, `"prediction_type": "${kind}"`))
  const engine = await openEngine({ model: folder, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  return engine
}
