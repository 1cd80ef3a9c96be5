import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint.ts'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { pixelDifference } from '../../test/golden/golden.ts'
import { type EngineOptions, openEngine } from './engine.ts'
import type { PictureRequest } from './request.ts'
import type { Session } from './runtime/session.ts'
import { SessionCache } from './runtime/session-cache.ts'

/** Where memory has room for it, wide convolutions are computed in fewer products. */

const request: PictureRequest = {
  prompt: 'a red apple',
  negativePrompt: '',
  width: 32,
  height: 32,
  steps: 2,
  guidanceScale: 5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 7,
}

/** Wide enough to gain from it, and small in all else. */
let wide: string

before(async (t) => {
  wide = tempFolder(t as TestContext)
  await writeRandomCheckpoint(wide, join(import.meta.dirname, '../../test/golden/tiny-sd/tokenizer'), {
    text: {
      hidden_size: 32,
      intermediate_size: 64,
      num_attention_heads: 4,
      num_hidden_layers: 2,
      max_position_embeddings: 77,
      hidden_act: 'quick_gelu',
      layer_norm_eps: 1e-5,
      vocab_size: 800,
    },
    unet: {
      in_channels: 4,
      out_channels: 4,
      block_out_channels: [256, 256],
      down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
      up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
      layers_per_block: 1,
      cross_attention_dim: 32,
      heads: [8, 8],
      norm_num_groups: 32,
      norm_eps: 1e-5,
      flip_sin_to_cos: true,
      freq_shift: 0,
    },
    vae: {
      latent_channels: 4,
      out_channels: 3,
      block_out_channels: [32, 256],
      layers_per_block: 1,
      norm_num_groups: 32,
      scaling_factor: 0.18215,
    },
    sampleSize: 16,
  })
})

async function open(t: TestContext, budget: number, options: Partial<EngineOptions> = {}) {
  const sessions = new SessionCache<Session>(budget)
  const engine = await openEngine({ model: wide, provider: 'cpu', threads: 2, sessions, ...options })
  lastFirst(t).after(() => engine.close())
  return engine
}

const roomy = 2 ** 30

test('the picture is the same to rounding, with as much memory as there is', async (t) => {
  const fewer = await open(t, roomy)
  const picture = await fewer.generate(request)
  // enough for these networks beside one another, and one byte less
  const warnings: string[] = []
  const onWarning = (message: string) => void warnings.push(message)
  const enough = await open(t, fewer.bytes, { onWarning })
  assert.deepEqual(await enough.generate(request), picture)
  assert.equal(enough.bytes, fewer.bytes)
  assert.deepEqual(warnings, [])
  const short = await open(t, fewer.bytes - 1, { onWarning })
  const direct = await short.generate(request)
  await short.generate({ ...request, width: 48 })
  const [told, ...more] = warnings
  assert.match(
    told ?? '',
    /^The model would be faster with \d+ MiB for its networks; a worker may use \d+ MiB\.$/,
  )
  assert.deepEqual(more, [], 'it is told once')
  assert.ok(pixelDifference(direct.rgb, picture.rgb) <= 1)
  const dense = await open(t, roomy, { profile: 'dense' })
  assert.ok(pixelDifference((await dense.generate(request)).rgb, picture.rgb) <= 1)
  assert.ok(dense.bytes < fewer.bytes, 'its weights are as they are in their file')
})

test('what needs more memory than that is still drawn', async (t) => {
  const budget = (await drawnIn(t, request)).bytes
  for (const asked of [
    { ...request, prompt: 'a red apple '.repeat(60) },
    { ...request, width: 64, height: 48 },
  ]) {
    const { rgb } = await (await open(t, budget)).generate(asked)
    assert.ok(pixelDifference(rgb, (await drawnIn(t, asked)).rgb) <= 1, JSON.stringify(asked))
  }
})

async function drawnIn(t: TestContext, asked: PictureRequest) {
  const engine = await open(t, roomy)
  const { rgb } = await engine.generate(asked)
  return { rgb, bytes: engine.bytes }
}

test('pictures that share runs are what they are alone', async (t) => {
  const asked = [1, 2, 3].map((seed) => ({ ...request, seed }))
  const engine = await open(t, roomy)
  const wanted: Uint8Array[] = []
  for (const each of asked) wanted.push((await engine.generate(each)).rgb)
  const needed = engine.bytes
  // with less than all that is needed for three, fewer share a run
  for (const budget of [roomy, needed, 1.05 * needed]) {
    const together = await open(t, budget, { together: 3 })
    const pictures = await Promise.all(asked.map((each) => together.generate(each)))
    assert.deepEqual(
      pictures.map(({ rgb }) => rgb),
      wanted,
    )
  }
})

test('packed files give the same bits, and those of either way are kept apart', async (t) => {
  const cacheFolder = tempFolder(t)
  const kept = async () => (await readdir(join(cacheFolder, 'packed'))).sort()
  const wanted = await drawnIn(t, request)
  const packed = { profile: 'packed', cacheFolder } as const
  for (const _ of ['written', 'mapped']) {
    assert.deepEqual((await (await open(t, roomy, packed)).generate(request)).rgb, wanted.rgb)
  }
  const before = await kept()
  const direct = await (await open(t, wanted.bytes - 1)).generate(request)
  assert.deepEqual(await (await open(t, wanted.bytes - 1, packed)).generate(request), direct)
  assert.ok((await kept()).length > before.length)
})
