import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Value } from 'typebox/value'
import { AppError } from '../errors.ts'
import { defaultLimits } from '../fields.ts'
import { Finish, FinishAsked, finishPresets } from '../finish.ts'
import { versionOf } from '../job.ts'
import type { Offer } from '../offer.ts'
import { resolveRequest } from './resolve.ts'

const offer: Offer = {
  models: [
    {
      name: 'mini',
      width: 256,
      height: 192,
      steps: 20,
      guidance_scale: 5,
      size_multiple: 16,
      family: 'sd1',
      clip_layers: 4,
      image_to_image: false,
      inpainting: false,
    },
  ],
  vaes: [],
  loras: [],
  embeddings: [],
  samplers: {
    parse: () => ({ sampler: 'euler' }),
    parseSchedule: () => 'normal',
    of: () => [
      { name: 'euler', label: 'Euler', aliases: [], schedules: ['normal'], default_schedule: 'normal' },
    ],
  },
}
const resolve = (body: object) =>
  resolveRequest({ prompt: 'x', ...body }, offer, { ...defaultLimits, finishPixels: 9_000_000 }, 42).request
const noMargin = { top: 0, right: 0, bottom: 0, left: 0 }
const upload = '01kc3v0q6ntb0m2k4x1h9s7d5e8f3g6j2p4r7t9w1y'

test('every value of a finish is decided, from its preset or without one', () => {
  const decided = (finish: object, more = {}) => {
    const { finish: found, format } = resolve({ finish, ...more })
    return { ...found, format }
  }
  assert.deepEqual(decided({}), {
    background: 'as_made',
    width: 256,
    height: 192,
    margin: noMargin,
    shadow: 'none',
    format: 'png',
  })
  assert.deepEqual(decided({ preset: 'amazon_main' }), {
    preset: 'amazon_main',
    background: '#ffffff',
    fill: 87,
    width: 1600,
    height: 1600,
    margin: noMargin,
    shadow: 'none',
    format: 'jpeg',
  })
  // one side keeps the shape, a number is all margins, and a file fits what it has to hold
  const own = { background: '#FFEEDD', width: 1024, margin: 5, shadow: 'soft', max_bytes: 200_000 }
  assert.deepEqual(decided(own), {
    background: '#ffeedd',
    fill: 80,
    width: 1024,
    height: 768,
    margin: { top: 5, right: 5, bottom: 5, left: 5 },
    shadow: 'soft',
    max_bytes: 200_000,
    format: 'jpeg',
  })
  assert.equal(decided({ preset: 'shop_square', background: 'transparent' }).format, 'png')
  assert.equal(decided({ background: 'transparent', max_bytes: 200_000 }).format, 'webp')
  assert.equal(decided({ preset: 'shop_square', background: 'as_made' }).shadow, 'none')
  assert.equal(decided({ preset: 'amazon_main' }, { format: 'webp' }).format, 'webp')
  const photo = decided({ background: upload }, { init_image: upload, strength: 0 })
  assert.deepEqual([photo.background, photo.width, photo.height], [upload, 1600, 1600])
})

test('each preset is a request that passes, and its decided form may be sent again', () => {
  for (const preset of Object.keys(finishPresets)) {
    const { finish, format } = resolve({ finish: { preset } })
    assert.ok(Value.Check(Finish, finish))
    assert.ok(Value.Check(FinishAsked, finish))
    assert.deepEqual(resolve({ finish, format }).finish, finish)
    assert.ok((finish?.width ?? 0) * (finish?.height ?? 0) <= 16e6)
  }
})

test('a kept product has a new set: drawn, or that of its finish without drawing', () => {
  const kept = { init_image: upload, keep: 'product', vae: undefined }
  const strengths = [
    [{}, 1],
    [{ strength: 0.6 }, 0.6],
    [{ strength: 0 }, 0],
    [{ finish: {} }, 1],
    [{ finish: { preset: 'etsy_listing' } }, 1],
    [{ finish: { background: '#ffffff' } }, 0],
    [{ finish: { preset: 'amazon_main' } }, 0],
    [{ finish: { preset: 'amazon_main' }, strength: 1 }, 1],
    [{ strength: 0, mask: upload }, 0],
  ] as const
  const able = { ...offer, models: offer.models.map((model) => ({ ...model, image_to_image: true })) }
  for (const [asked, strength] of strengths) {
    const { request } = resolveRequest({ prompt: 'x', ...kept, ...asked }, able, defaultLimits, 42)
    assert.deepEqual([request.strength, request.keep], [strength, 'product'], JSON.stringify(asked))
    // workers before it refuse what is only cut out
    assert.equal(versionOf(request), request.strength === 0 && request.finish === undefined ? 7 : 5)
  }
  const { finish } = resolveRequest({ prompt: 'x', ...kept, finish: {} }, able, defaultLimits, 42).request
  assert.deepEqual([finish?.width, finish?.height], [1600, 1200])
  const faults = (body: object) => {
    try {
      resolve(body)
    } catch (thrown) {
      return (thrown as AppError).message
    }
    return ''
  }
  assert.match(faults({ keep: 'product' }), /keep requires init_image/)
  assert.match(faults({ ...kept, strength: 0, format: 'jpeg' }), /must be png or webp.*transparent/)
  assert.match(faults({ ...kept, keep: 'all' }), /keep must be one of product/)
  assert.match(
    faults({ init_image: upload, mask: upload, strength: 0, finish: {} }),
    /mask requires a strength above 0, or keep/,
  )
})

test('only requests with a finish or a gate are of a version that older workers leave alone', () => {
  assert.equal(versionOf(resolve({})), 2)
  assert.equal(versionOf(resolve({ finish: {} })), 5)
  assert.equal(versionOf(resolve({ gate: { tries: 2 } })), 5)
  assert.deepEqual(resolve({ gate: { tries: 1 } }), resolve({}))
  const photo = resolve({ finish: {}, init_image: upload, strength: 0 })
  assert.deepEqual([versionOf(photo), photo.strength], [5, 0])
})

test('what cannot be is refused with the field, its limit and what to do', () => {
  const told: [object, string][] = [
    [
      { finish: 'amazon' },
      'finish: finish must be an object such as {"preset": "amazon_main"}, but was "amazon".',
    ],
    [
      { finish: { preset: 'amazon_man' } },
      'finish.preset: There is no finish.preset "amazon_man". Did you mean amazon_main?',
    ],
    [{ finish: { fil: 80 } }, 'finish: finish has no field fil. Did you mean fill?'],
    [{ finish: { fill: 120 } }, 'finish.fill: finish.fill must be a number from 30 to 100, but was 120.'],
    [
      { finish: { width: 10_000, height: 10_000 } },
      'finish.width: finish.width must be a whole number from 64 to 4096, but was 10000.',
    ],
    [
      { finish: { width: 4096, height: 4096 } },
      'finish.width: finish.width times finish.height must be at most 9 megapixels, but was 4096 x 4096 (16.8 megapixels).',
    ],
    [
      { finish: { margin: 60 } },
      'finish.margin: finish.margin must be a number from 0 to 45, or {"top", "right", "bottom", "left"} of such numbers, but was 60.',
    ],
    [
      { finish: { background: 'white' } },
      'finish.background: finish.background must be as_made, transparent, a colour such as #ffffff, or the id of an upload, but was "white".',
    ],
    [
      { finish: { shadow: 'soft' } },
      'finish.shadow: finish.shadow must be none with finish.background as_made, which has the shadow that was drawn. Name a colour or transparent.',
    ],
    [
      { finish: { background: 'transparent' }, format: 'jpeg' },
      'format: format must be png or webp with finish.background transparent: a JPEG cannot be transparent. Leave format out, or name a colour.',
    ],
    [
      { finish: { max_bytes: 50_000 }, format: 'png' },
      'finish.max_bytes: finish.max_bytes requires format jpeg or webp: a PNG is lossless and cannot be made smaller.',
    ],
    [
      { init_image: upload, strength: 0 },
      'strength: strength 0 draws nothing, so it requires finish, which says what becomes of init_image, or keep, which cuts the product out.',
    ],
    [
      { init_image: upload, strength: 0, finish: {}, gate: { tries: 2 } },
      'gate: gate requires a strength above 0: with 0 nothing is drawn, so there is no other try.',
    ],
    [
      { init_image: upload, strength: 0, finish: {}, mask: upload },
      'mask: mask requires a strength above 0, or keep: with 0 nothing is repainted.',
    ],
    [{ gate: { tries: 9 } }, 'gate.tries: gate.tries must be a whole number from 1 to 4, but was 9.'],
    [{ gate: {} }, 'gate.tries: gate.tries is missing: it must be a whole number from 1 to 4.'],
  ]
  for (const [body, expected] of told) {
    let said = 'nothing was refused'
    try {
      resolve(body)
    } catch (error) {
      assert.ok(error instanceof AppError)
      said = `${error.faults[0]?.param}: ${error.message}`
    }
    assert.ok(said.startsWith(expected), `${JSON.stringify(body)}: ${said}`)
  }
})
