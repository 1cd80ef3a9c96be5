import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ResolvedRequest } from '../../jobs/job.ts'
import { againAddress, readFields, requestBody, valuesOfRequest } from './form-values.ts'

const request: ResolvedRequest = {
  prompt: 'a red apple & "friends" + <b>',
  negative_prompt: '',
  width: 192,
  height: 256,
  steps: 12,
  guidance_scale: 4.5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 41,
  count: 2,
  model: 'packshot-mini',
  format: 'png',
}

test('an empty form asks for the prompt alone', () => {
  assert.deepEqual(requestBody(readFields({})), { prompt: '' })
  assert.deepEqual(requestBody(readFields(undefined)), { prompt: '' })
})

test('numbers are sent as numbers, and what is none as it was typed', () => {
  const body = requestBody(
    readFields({ prompt: 'a', steps: ' 20 ', guidance_scale: '4.5', seed: '0', count: '0x2' }),
  )
  assert.deepEqual(body, { prompt: 'a', steps: 20, guidance_scale: 4.5, seed: 0, count: '0x2' })
})

test('a chosen size becomes width and height; typed ones count more', () => {
  assert.deepEqual(requestBody(readFields({ prompt: 'a', size: '192x256' })), {
    prompt: 'a',
    width: 192,
    height: 256,
  })
  const typed = requestBody(readFields({ prompt: 'a', size: '192x256', width: '320' }))
  assert.deepEqual(typed, { prompt: 'a', width: 320, height: 256 })
  assert.deepEqual(requestBody(readFields({ prompt: 'a', size: 'big' })), { prompt: 'a', width: 'big' })
})

test('a slider says nothing without a photo; LoRAs are read from one line', () => {
  assert.deepEqual(requestBody(readFields({ prompt: 'a', strength: '0.5', mask: 'm' })), { prompt: 'a' })
  const body = requestBody(
    readFields({
      prompt: 'a',
      init_image: 'i',
      strength: '0.5',
      mask: 'm',
      clip_skip: '2',
      vae: 'v',
      loras: ' detail : .8,, soft light, odd:name, minus:-1, two:.8:0.6 ',
    }),
  )
  assert.deepEqual(body, {
    prompt: 'a',
    clip_skip: 2,
    vae: 'v',
    init_image: 'i',
    strength: 0.5,
    mask: 'm',
    loras: [
      { name: 'detail', strength: 0.8 },
      { name: 'soft light' },
      { name: 'odd:name' },
      { name: 'minus', strength: -1 },
      { name: 'two', strength: 0.6, text_strength: 0.8 },
    ],
  })
})

test('of repeated fields the first counts; foreign ones and other shapes are left out', () => {
  const values = readFields({ prompt: ['one', 'two'], steps: { a: 1 }, evil: 'x', __proto__: { seed: '1' } })
  assert.equal(values.prompt, 'one')
  assert.equal(values.steps, '')
  assert.ok(!('evil' in values))
})

test('the address of a recipe fills in the same settings', () => {
  const address = new URL(againAddress('id', request, 42, 1), 'http://studio.test')
  const values = readFields(Object.fromEntries(address.searchParams))
  const { format: _, negative_prompt: __, ...expected } = { ...request, seed: 42, count: 1 }
  assert.deepEqual(requestBody(values), expected)
})

test('the address of a recipe brings the photo and the LoRAs too', () => {
  const extras = {
    vae: 'v',
    loras: [
      { name: 'detail', strength: 0.5 },
      { name: 'soft light', strength: 1 },
      { name: 'two', strength: 0.6, text_strength: 0.8 },
    ],
    clip_skip: 2,
    init_image: 'i',
    strength: 0.5,
    mask: 'm',
  }
  const address = new URL(againAddress('id', { ...request, ...extras }, 42, 1), 'http://studio.test')
  assert.equal(address.searchParams.get('loras'), 'detail:0.5, soft light, two:0.8:0.6')
  const { format: _, negative_prompt: __, ...expected } = { ...request, ...extras, seed: 42, count: 1 }
  const body = requestBody(readFields(Object.fromEntries(address.searchParams)))
  const [detail, , two] = extras.loras
  assert.deepEqual(body, { ...expected, loras: [detail, { name: 'soft light' }, two] })
})

test('a recipe brings what is drawn twice, finished, limited and tried again', () => {
  const finish = {
    background: '#ffffff',
    fill: 80,
    width: 192,
    height: 256,
    margin: { top: 0, right: 0, bottom: 0, left: 0 },
    shadow: 'none' as const,
    max_bytes: 350_000,
  }
  const extras = { upscaler: 'sharp', decoder: 'taesd', gate: { tries: 3 }, finish }
  for (const [hires, asked] of [
    [{ width: 384, height: 512, strength: 0.5, steps: 12 }, { scale: 2 }],
    [
      { width: 384, height: 520, strength: 0.3, steps: 6, upscaler: 'sharp' },
      { width: 384, height: 520, strength: 0.3, steps: 6, upscaler: 'sharp' },
    ],
  ] as const) {
    const values = valuesOfRequest({ ...request, ...extras, hires })
    const body = requestBody(values)
    assert.deepEqual(body.hires, asked)
    assert.deepEqual([body.upscaler, body.decoder, body.gate], ['sharp', 'taesd', { tries: 3 }])
    assert.deepEqual(body.finish, { background: '#ffffff', fill: 80, shadow: 'none', max_bytes: 350_000 })
  }
})

test('where the background stays as it was drawn, the product does as well unless a size is named', () => {
  const sent = { prompt: 'a', finish_preset: 'etsy_listing', finish_fill: '85', finish_shadow: 'soft' }
  assert.deepEqual(requestBody(readFields(sent)).finish, { preset: 'etsy_listing' })
  const closer = requestBody(readFields({ ...sent, finish_zoom: '70' }))
  assert.deepEqual(closer.finish, { preset: 'etsy_listing', fill: 70 })
  const laidOn = requestBody(readFields({ ...sent, finish_preset: 'shop_square', finish_zoom: '' }))
  assert.deepEqual(laidOn.finish, { preset: 'shop_square', fill: 85, shadow: 'soft' })
})

test('margins are one number or four; what is neither is passed on as typed', () => {
  for (const [text, margin] of [
    ['5', 5],
    [' 2.5, 0  7 1 ', { top: 2.5, right: 0, bottom: 7, left: 1 }],
    ['5 5', '5 5'],
    ['wide', 'wide'],
    ['1 2 3 wide', { top: 1, right: 2, bottom: 3, left: 'wide' }],
  ] as const) {
    const body = requestBody(readFields({ prompt: 'a', finish_margin: text }))
    assert.deepEqual(body.finish, { margin }, text)
  }
})

test('timesteps take the place of steps and schedule, which the form always has', () => {
  const values = {
    prompt: 'a',
    sampler: 'tcd',
    schedule: 'sgm_uniform',
    steps: '20',
    timesteps: '999, 749 249',
  }
  assert.deepEqual(requestBody(readFields(values)), {
    prompt: 'a',
    sampler: 'tcd',
    timesteps: [999, 749, 249],
  })
  assert.deepEqual(requestBody(readFields({ ...values, timesteps: 'soon' })).timesteps, ['soon'])
})

test('the largest file is said in KB, MB or bytes', () => {
  for (const [text, bytes] of [
    ['500 KB', 500_000],
    ['1,5mb', 1_500_000],
    ['20000', 20_000],
    ['small', 'small'],
  ] as const) {
    const body = requestBody(readFields({ prompt: 'a', finish_max_bytes: text }))
    assert.deepEqual(body.finish, { max_bytes: bytes })
  }
})

test('a prompt too long for an address is left with its job', () => {
  const long = { ...request, prompt: '🍎'.repeat(1000) }
  assert.equal(againAddress('the-id', long, 42, 1), '/?from=the-id&seed=42&count=1')
  assert.equal(valuesOfRequest(long).prompt, long.prompt)
})
