import assert from 'node:assert/strict'
import { test } from 'node:test'
import { latentMask, sampleLatents, startRun } from './image-to-image.ts'
import { toPlanes } from './planes.ts'
import { TorchGenerator } from './random/torch-normal.ts'
import { createSampler } from './samplers/create-sampler.ts'

const vae = {
  latent_channels: 4,
  out_channels: 3,
  block_out_channels: [8, 8, 8, 8],
  layers_per_block: 1,
  norm_num_groups: 8,
  scaling_factor: 0.5,
}
const noise = {
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  prediction_type: 'epsilon',
} as const

/** @param encoded counts the calls of the encoder */
function context({ width = 32, height = 32, inpainting = false, encoded = { calls: 0 } }) {
  const generator = new TorchGenerator(1)
  return {
    width,
    height,
    generator,
    vae,
    inpainting,
    begin: 0,
    sampler: createSampler({ sampler: 'dpmpp_2m', schedule: 'karras', steps: 5, noise }, () => {
      throw new Error('this sampler draws nothing')
    }),
    encode: async () => {
      encoded.calls += 1
      return new Float32Array(8 * (width / 8) * (height / 8))
    },
  }
}

function picture(width: number, height: number) {
  return { rgb: new Uint8Array(3 * width * height).fill(255), width, height, strength: 0.5 }
}

test('without a picture a run begins with the noise of its seed, and nothing is encoded', async () => {
  const encoded = { calls: 0 }
  const start = await startRun(undefined, context({ encoded }))
  assert.deepEqual(start.sample, new TorchGenerator(1).randn(64))
  assert.equal(start.extraChannels.length, 0)
  assert.equal(encoded.calls, 0)
  assert.equal(start.keep(start.sample, 0), start.sample)
})

test('pictures and masks of another size are refused with both sizes', async () => {
  await assert.rejects(startRun(undefined, context({ width: 36 })), {
    name: 'RangeError',
    message: /multiples of 8, it is 36x32/,
  })
  await assert.rejects(startRun(picture(32, 40), context({})), /must be 32x32 with 3072 bytes; it is 32x40/)
  const short = { ...picture(32, 32), rgb: new Uint8Array(3) }
  await assert.rejects(startRun(short, context({})), /it is 32x32 with 3$/)
  const mask = new Uint8Array(32 * 40)
  await assert.rejects(
    startRun({ ...picture(32, 32), mask }, context({})),
    /1024 bytes \(32x32\), it has 1280/,
  )
})

test('an encoder that refuses is heard', async () => {
  const encode = () => Promise.reject(new Error('no encoder'))
  await assert.rejects(startRun(picture(32, 32), { ...context({}), encode }), /no encoder/)
})

test('a mask keeps the picture where it is dark: at the end exactly', async () => {
  const mask = new Uint8Array(32 * 32)
  mask.fill(128, 0, 32 * 16).fill(127, 32 * 16)
  const start = await startRun({ ...picture(32, 32), mask }, context({}))
  const last = start.keep(new Float32Array(64).fill(7), 4)
  const clean = sampleLatents(new Float32Array(128), new TorchGenerator(1), vae.scaling_factor)
  for (const [i, value] of last.entries()) assert.equal(value, i % 16 < 8 ? 7 : clean[i])
})

test('latents of a certain picture are its means', () => {
  const moments = new Float32Array(32).fill(3, 0, 16).fill(-1000, 16)
  for (const value of sampleLatents(moments, new TorchGenerator(5), 2)) assert.ok(Math.abs(value - 6) < 1e-5)
})

test('planes are channel by channel, from -1 to 1', () => {
  const planes = toPlanes({ rgb: Uint8Array.of(0, 51, 255, 255, 102, 0), width: 2, height: 1 })
  // 102 of 255 in float32 is a little more than 0.4, as numpy has it
  assert.deepEqual(planes, Float32Array.of(-1, 1, -0.6, 2 * Math.fround(0.4) - 1, 1, -1))
})

test('the mask of the latents takes the upper left pixel of each square', () => {
  const mask = new Uint8Array(16 * 8)
  mask[8] = 255
  mask[1] = 255
  assert.deepEqual(latentMask(mask, 16, 8, 8), Float32Array.of(0, 1))
})
