import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Value } from 'typebox/value'
import { AppError } from '../errors.ts'
import { defaultLimits } from '../fields.ts'
import { ResolvedRequest, versionOf } from '../job.ts'
import { HiresAsked } from '../larger.ts'
import type { AddOn, Offer } from '../offer.ts'
import { stepsOf } from '../pictures.ts'
import { workUnits } from '../work.ts'
import { deliveredSize, enlargingUnits } from './larger.ts'
import { resolveRequest } from './resolve.ts'

const model = {
  name: 'one',
  width: 512,
  height: 384,
  steps: 20,
  guidance_scale: 5,
  size_multiple: 8,
  family: 'sd1',
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
} as const
const upscaler = (name: string, scale: number): AddOn => ({
  name,
  family: 'any',
  enlarges: { scale, units: 10 },
})
const misfits = new Map([['one', 'is made for another model: it has 16 latent channels, this model has 4']])
const offer: Offer = {
  models: [model, { ...model, name: 'blind', image_to_image: false }],
  vaes: [],
  loras: [],
  embeddings: [],
  upscalers: [
    upscaler('x4', 4),
    upscaler('x2', 2),
    { name: 'swin', family: 'any', problem: 'this is a SwinIR' },
  ],
  tiny_vaes: [
    { name: 'taesd3', family: 'sd1', misfits },
    { name: 'taesd', family: 'sd1' },
  ],
  samplers: {
    parse: () => ({ sampler: 'euler' }),
    parseSchedule: () => 'normal',
    of: () => [
      { name: 'euler', label: 'Euler', aliases: [], schedules: ['normal'], default_schedule: 'normal' },
    ],
  },
}
const resolve = (body: object, given = offer) =>
  resolveRequest({ prompt: 'x', ...body }, given, defaultLimits, 42).request

test('every value of hires is decided, and its decided form may be sent again', () => {
  const decided = (hires: object, more = {}) => resolve({ hires, ...more }).hires
  assert.deepEqual(decided({}), { width: 1024, height: 768, steps: 20, strength: 0.5 })
  assert.deepEqual(decided({}, { width: 768, height: 768 }), {
    width: 1024,
    height: 1024,
    steps: 20,
    strength: 0.5,
  })
  assert.deepEqual(decided({ scale: 1.3, strength: 0.3, steps: 10, upscaler: 'X4' }), {
    width: 664,
    height: 496,
    steps: 10,
    strength: 0.3,
    upscaler: 'x4',
  })
  const sides = { width: 640, height: 640, steps: 20, strength: 0.5 }
  assert.deepEqual(decided({ width: 640, height: 640 }), sides)
  assert.ok(Value.Check(HiresAsked, sides))
  assert.deepEqual(decided(sides), sides)
  assert.ok(Value.Check(ResolvedRequest, resolve({ hires: {}, upscaler: 'x2', decoder: 'tiny' })))
})

test('a tiny decoder is decided by its name; full is the same as none', () => {
  assert.equal(resolve({ decoder: 'tiny' }).decoder, 'taesd')
  assert.equal(resolve({ decoder: 'TAESD' }).decoder, 'taesd')
  assert.deepEqual(resolve({ decoder: 'full' }), resolve({}))
})

test('a precision is decided only where it is not exact, and needs a worker of version 6', () => {
  assert.equal(resolve({ precision: 'int8' }).precision, 'int8')
  assert.equal(versionOf(resolve({ precision: 'int8', hires: {} })), 6)
  assert.deepEqual(resolve({ precision: 'exact' }), resolve({}))
  assert.throws(
    () => resolve({ precision: 'int4' }),
    /precision must be exact or int8|precision must be one of/,
  )
  const usually = (body: object) =>
    resolveRequest({ prompt: 'x', ...body }, offer, { ...defaultLimits, precision: 'int8' }, 42).request
  assert.equal(usually({}).precision, 'int8')
  assert.deepEqual(usually({ precision: 'exact' }), resolve({}))
})

test('they need a worker that knows them, are counted as work and steps, and the stored size is known', () => {
  const plain = resolve({ width: 512, height: 512 })
  const hires = resolve({ width: 512, height: 512, hires: {} })
  assert.equal(versionOf(plain), 2)
  for (const field of [{ hires: {} }, { upscaler: 'x2' }, { decoder: 'tiny' }])
    assert.equal(versionOf(resolve(field)), 5)
  assert.equal(stepsOf(hires), 30)
  assert.equal(workUnits(hires).toFixed(6), (workUnits(plain) * (1 + 0.5 * 4)).toFixed(6))
  const both = resolve({ width: 512, height: 512, hires: { upscaler: 'x4' }, upscaler: 'x2' })
  assert.equal(enlargingUnits(both, offer), (10 * 512 * 512 + 10 * 1024 * 1024) / 1e6)
  assert.deepEqual(deliveredSize(both, offer), { width: 2048, height: 2048 })
  assert.deepEqual(deliveredSize(resolve({ upscaler: 'x4', finish: { width: 1600 } }), offer).width, 1600)
  // a finish without a size has that of the larger picture
  assert.equal(resolve({ hires: {}, finish: {} }).finish?.width, 1024)
})

test('what cannot be is refused with the field, its limit and what to do', () => {
  const none: Offer = { ...offer, upscalers: [], tiny_vaes: [] }
  const told: [object, string, Offer?][] = [
    [{ hires: 2 }, 'hires: hires must be an object such as {"scale": 2}, but was 2.'],
    [{ hires: { scal: 2 } }, 'hires: hires has no field scal. Did you mean scale?'],
    [{ hires: { scale: 9 } }, 'hires.scale: hires.scale must be a number from 1 to 4, but was 9.'],
    [
      { hires: { scale: 3 } },
      'hires.scale: hires.scale must be at most 2 for 512 x 384: pictures are drawn with at most 1024 pixels on a side, and 3 makes 1536 x 1152. Draw smaller first, or use upscaler.',
    ],
    [
      { hires: { scale: 2, width: 1024, height: 768 } },
      'hires.scale: hires.scale and hires.width with hires.height say the same',
    ],
    [
      { hires: { width: 1001, height: 768 } },
      'hires.width: hires.width must be a multiple of 8 for the model one, from the width 512 to 1024, but was 1001.',
    ],
    [
      { hires: { width: 1024 } },
      'hires.height: hires.height must be a multiple of 8 for the model one, from the height 384 to 1024, but was missing.',
    ],
    [
      { hires: { strength: 0.04 } },
      'hires.strength: hires.strength must be at least 0.05 with 20 steps, or nothing is repainted, but was 0.04.',
    ],
    [
      { hires: {}, init_image: '01kc3v0q6ntb0m2k4x1h9s7d5e8f3g6j2p4r7t9w1y' },
      'hires: hires requires that init_image is absent: ask for the photo at the larger size instead.',
    ],
    [
      { hires: {}, model: 'blind' },
      'hires: hires must be absent: the VAE of the model blind cannot read pictures',
    ],
    [{ hires: { upscaler: 'x9' } }, 'hires.upscaler: hires.upscaler must be one of x4, x2, but was "x9".'],
    [{ upscaler: 'swin' }, 'upscaler: The upscaler swin cannot be used: this is a SwinIR.'],
    [{ upscaler: 'x4' }, 'upscaler: upscaler must be absent: no upscaler is installed.', none],
    [
      { upscaler: 'x4', width: 1024, height: 1024 },
      'upscaler: upscaler makes 1024 x 1024 4 times as large, which is 16.8 megapixels; at most 9 megapixels are delivered.',
    ],
    [
      { decoder: 'taesd3' },
      'decoder: The tiny VAE taesd3 is made for another model: it has 16 latent channels',
    ],
    [{ decoder: 'tyni' }, 'decoder: decoder must be one of full, tiny, taesd, but was "tyni".'],
    [
      { decoder: 'tiny' },
      'decoder: decoder must be full or absent: no tiny VAE (TAESD) that fits the model one is installed.',
      none,
    ],
  ]
  for (const [body, expected, given = offer] of told) {
    let said = 'nothing was refused'
    try {
      const limits = expected.includes('9 megapixels')
        ? { ...defaultLimits, finishPixels: 9e6 }
        : defaultLimits
      resolveRequest({ prompt: 'x', ...body }, given, limits, 42)
    } catch (error) {
      assert.ok(error instanceof AppError)
      said = `${error.faults[0]?.param}: ${error.message}`
    }
    assert.ok(said.startsWith(expected), `${JSON.stringify(body)}: ${said}`)
  }
})
