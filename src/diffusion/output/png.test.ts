import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import { TorchGenerator } from '../random/torch-normal.ts'
import type { SamplerName, Schedule } from '../samplers/catalog.ts'
import { infotext } from './infotext.ts'
import { encodePng } from './png.ts'

/** The chunks of a PNG by type, in order. */
function chunksOf(png: Uint8Array): [string, Buffer][] {
  const bytes = Buffer.from(png)
  const chunks: [string, Buffer][] = []
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    chunks.push([bytes.toString('latin1', at + 4, at + 8), bytes.subarray(at + 8, at + 8 + length)])
    at += length + 12
  }
  return chunks
}

/** Undoes the five filters (PNG specification, section 9.2), independent of the encoder. */
function pixelsOf(png: Uint8Array, width: number, height: number): Uint8Array {
  const data = inflateSync(
    Buffer.concat(chunksOf(png).flatMap(([type, body]) => (type === 'IDAT' ? [body] : []))),
  )
  const stride = width * 3
  const out = new Uint8Array(stride * height)
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)]!
    for (let x = 0; x < stride; x++) {
      const a = x < 3 ? 0 : out[y * stride + x - 3]!
      const b = y === 0 ? 0 : out[(y - 1) * stride + x]!
      const c = x < 3 || y === 0 ? 0 : out[(y - 1) * stride + x - 3]!
      const p = a + b - c
      const nearest = [a, b, c].toSorted((m, n) => Math.abs(p - m) - Math.abs(p - n))[0]!
      const predicted = [0, a, b, (a + b) >> 1, nearest][filter]!
      out[y * stride + x] = data[y * (stride + 1) + 1 + x]! + predicted
    }
  }
  return out
}

test('pixels survive the round trip', () => {
  const [width, height] = [37, 23]
  const smooth = Uint8Array.from(
    { length: width * height * 3 },
    (_, i) => (i % (width * 3)) + Math.floor(i / 99),
  )
  const noise = Uint8Array.from(new TorchGenerator(1).randn(width * height * 3), (value) => value * 60 + 128)
  for (const rgb of [smooth, noise]) {
    assert.deepEqual(pixelsOf(encodePng({ rgb, width, height }), width, height), rgb)
  }
})

test('text goes into tEXt if it is Latin-1, else into iTXt', () => {
  const rgb = new Uint8Array(3)
  const latin = chunksOf(encodePng({ rgb, width: 1, height: 1 }, { parameters: 'café' }))
  assert.deepEqual(latin[1], ['tEXt', Buffer.from('parameters\0café', 'latin1')])
  const other = chunksOf(encodePng({ rgb, width: 1, height: 1 }, { parameters: 'りんご' }))
  assert.deepEqual(other[1], [
    'iTXt',
    Buffer.concat([Buffer.from('parameters\0\0\0\0\0'), Buffer.from('りんご')]),
  ])
})

test('parameters read as A1111 writes them', () => {
  const request = {
    prompt: 'a red apple',
    negativePrompt: 'blurry',
    width: 512,
    height: 768,
    steps: 20,
    guidanceScale: 7,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 123,
  } as const
  assert.equal(
    infotext(request, { model: 'odd: name', version: '1.0.0' }),
    'a red apple\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, ' +
      'Seed: 123, Size: 512x768, Model: "odd: name", RNG: CPU, Version: Packshot 1.0.0',
  )
  const plain = { ...request, negativePrompt: '' }
  assert.ok(!infotext(plain, { model: 'm', version: '1' }).includes('Negative'))
  const rich = {
    ...plain,
    clipSkip: 2,
    loras: [
      { file: '/models/loras/style/soft.SafeTensors', strength: 0.8 },
      { file: '/models/loras/two.safetensors', strength: 0.6, textStrength: 0.8 },
    ],
    image: { rgb: new Uint8Array(), width: 512, height: 768, strength: 0.6 },
  }
  assert.match(
    infotext(rich, { model: 'm', vae: 'sharp', version: '1' }),
    /^a red apple <lora:soft:0\.8> <lora:two:0\.8:0\.6>\nSteps: .*, Model: m, VAE: sharp, Denoising strength: 0\.6, Clip skip: 2, RNG: CPU, Version/,
  )
})

test('what only a picture of few steps has is told under names of ours', () => {
  const request = {
    prompt: 'x',
    negativePrompt: '',
    width: 512,
    height: 512,
    steps: 2,
    guidanceScale: 1,
    sampler: 'tcd',
    schedule: 'sgm_uniform',
    seed: 1,
    timesteps: [999, 499],
    guidanceEnd: 0.5,
    pace: 'instant',
    precision: 'int8',
  } as const
  const text = infotext(request, { model: 'm', version: '1' })
  assert.match(text, /Packshot sampler: TCD, /)
  assert.match(
    text,
    /Eta: 0\.3, RNG: CPU, Packshot timesteps: 999 499, Packshot guidance end: 0\.5, Packshot pace: instant, Packshot precision: int8/,
  )
  assert.match(
    infotext({ ...request, sampler: 'ddim', eta: 0.5 }, { model: 'm', version: '1' }),
    /Sampler: DDIM, .*Eta DDIM: 0\.5/,
  )
})

test('names that A1111 does not have are not written as if they were its own', () => {
  const request = {
    prompt: 'x',
    negativePrompt: '',
    width: 512,
    height: 512,
    steps: 20,
    guidanceScale: 7,
    seed: 1,
  } as const
  const fields = (sampler: SamplerName, schedule: Schedule) =>
    /Steps: 20, (.*), CFG/.exec(
      infotext({ ...request, sampler, schedule }, { model: 'm', version: '1' }),
    )?.[1]
  assert.equal(fields('dpmpp_2s', 'karras'), 'Packshot sampler: DPM++ 2S, Schedule type: Karras')
  assert.equal(fields('dpmpp_2m', 'lu'), 'Sampler: DPM++ 2M, Packshot schedule: Lu')
  assert.equal(fields('euler', 'leading'), 'Sampler: Euler, Packshot schedule: Leading')
  assert.equal(fields('ddim', 'leading'), 'Sampler: DDIM, Schedule type: Automatic')
  assert.equal(fields('euler_ancestral', 'sgm_uniform'), 'Sampler: Euler a, Schedule type: SGM Uniform')
})
