import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../errors.ts'
import { defaultLimits } from '../fields.ts'
import type { ModelInfo, Offer } from '../offer.ts'
import { resolveRequest } from './resolve.ts'

/** Longer than most files: one place shows every invalid field and its sentence. */

const model: ModelInfo = {
  name: 'mini',
  width: 256,
  height: 192,
  steps: 20,
  guidance_scale: 5,
  size_multiple: 16,
  family: 'sd1',
  clip_layers: 4,
  image_to_image: true,
  inpainting: false,
}

const offer: Offer = {
  models: [model],
  vaes: [
    { name: 'sharp', family: 'sd1' },
    { name: 'other', family: 'sdxl' },
  ],
  loras: [
    { name: 'detail', family: 'sd1' },
    { name: 'soft light', family: 'sd1' },
    { name: 'foreign', family: 'sdxl' },
  ],
  embeddings: [],
  samplers: {
    parse: (text) =>
      ({
        dpmpp_2m: { sampler: 'dpmpp_2m' },
        euler: { sampler: 'euler' },
        lms: { sampler: 'lms' },
        'DPM++ 2M Karras': { sampler: 'dpmpp_2m', schedule: 'karras' },
        'Euler Exponential': { sampler: 'euler', schedule: 'exponential' },
      })[text],
    parseSchedule: (text) =>
      ({
        Automatic: 'automatic',
        karras: 'karras',
        Karras: 'karras',
        normal: 'normal',
        exponential: 'exponential',
      })[text],
    of: () => [
      {
        name: 'dpmpp_2m',
        label: 'DPM++ 2M',
        aliases: [],
        schedules: ['karras', 'normal'],
        default_schedule: 'karras',
      },
      {
        name: 'euler',
        label: 'Euler',
        aliases: [],
        schedules: ['normal'],
        default_schedule: 'normal',
        max_steps: 50,
      },
    ],
  },
}

const resolve = (body: unknown) => resolveRequest(body, offer, defaultLimits, 42).request

function faultsOf(body: unknown): string[] {
  try {
    resolve(body)
  } catch (error) {
    assert.ok(error instanceof AppError)
    assert.equal(error.code, 'invalid_request')
    assert.equal(error.param, error.faults[0]?.param)
    assert.equal(error.message, error.faults.map((fault) => fault.message).join(' '))
    return error.faults.map((fault) => `${fault.param}: ${fault.message}`)
  }
  return []
}

test('what is not asked for comes from the model', () => {
  assert.deepEqual(resolve({ prompt: 'a red apple' }), {
    prompt: 'a red apple',
    negative_prompt: '',
    width: 256,
    height: 192,
    steps: 20,
    guidance_scale: 5,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 42,
    count: 1,
    model: 'mini',
    format: 'png',
  })
})

test('what is asked for is kept, at the limits too', () => {
  for (const asked of [
    { negative_prompt: 'blur', width: 64, height: 1024, steps: 1, guidance_scale: 0, seed: 0, count: 1 },
    { width: 1024, height: 64, steps: 100, guidance_scale: 30, seed: 4294967295, count: 4, format: 'png' },
    { guidance_scale: 0.5, sampler: 'euler', schedule: 'normal', model: 'mini' },
  ]) {
    const resolved: Record<string, unknown> = { ...resolve({ prompt: 'x', ...asked }) }
    for (const [name, value] of Object.entries(asked)) assert.equal(resolved[name], value)
  }
})

test('a random seed is chosen when none is asked for', () => {
  const seeds = Array.from(
    { length: 8 },
    () => resolveRequest({ prompt: 'x' }, offer, defaultLimits).request.seed,
  )
  assert.ok(new Set(seeds).size > 1)
  assert.ok(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
})

test('prompts are composed, trimmed and put on one line', () => {
  const { prompt, negative_prompt } = resolve({
    prompt: '  cafe\u0301\r\n\tcup \u2028',
    negative_prompt: '\n',
  })
  assert.deepEqual([prompt, negative_prompt], ['caf\u00e9 cup', ''])
})

const single: [string, object, string][] = [
  ['no prompt', { prompt: undefined }, 'prompt: prompt is missing: it must be text of 1 to 2000 characters.'],
  ['empty', { prompt: '' }, 'prompt: prompt must be text of 1 to 2000 characters, but was empty.'],
  ['blank', { prompt: ' \n ' }, 'prompt: prompt must be text of 1 to 2000 characters, but was empty.'],
  ['null', { prompt: null }, 'prompt: prompt must be text of 1 to 2000 characters, but was null.'],
  ['number', { prompt: 5 }, 'prompt: prompt must be text of 1 to 2000 characters, but was 5.'],
  ['list', { prompt: ['x'] }, 'prompt: prompt must be text of 1 to 2000 characters, but was a list of 1.'],
  ['object', { prompt: {} }, 'prompt: prompt must be text of 1 to 2000 characters, but was an object.'],
  [
    'NUL',
    { prompt: 'a\0b' },
    'prompt: prompt must not contain control characters, but contains U+0000 at character 2.',
  ],
  [
    'ESC',
    { negative_prompt: '\u001b[31m' },
    'negative_prompt: negative_prompt must not contain control characters, but contains U+001B at character 1.',
  ],
  [
    'half a pair',
    { prompt: 'a\ud800' },
    'prompt: prompt must be valid Unicode, but contains half of a surrogate pair.',
  ],
  ['small', { width: 32 }, 'width: width must be a whole number from 64 to 1024, but was 32.'],
  ['large', { height: 2048 }, 'height: height must be a whole number from 64 to 1024, but was 2048.'],
  [
    'multiple',
    { width: 100 },
    'width: width must be a multiple of 16 for the model mini, but was 100; nearest: 96 and 112.',
  ],
  [
    'text for a number',
    { width: '256' },
    'width: width must be a whole number from 64 to 1024, but was "256".',
  ],
  ['no steps', { steps: 0 }, 'steps: steps must be a whole number from 1 to 100, but was 0.'],
  ['10 000 steps', { steps: 10_000 }, 'steps: steps must be a whole number from 1 to 100, but was 10000.'],
  ['half a step', { steps: 2.5 }, 'steps: steps must be a whole number from 1 to 100, but was 2.5.'],
  [
    'NaN',
    { guidance_scale: Number.NaN },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was NaN.',
  ],
  [
    'infinity',
    { guidance_scale: Number.POSITIVE_INFINITY },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was Infinity.',
  ],
  [
    'negative',
    { guidance_scale: -1 },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was -1.',
  ],
  ['seed below', { seed: -1 }, 'seed: seed must be a whole number from 0 to 4294967295, but was -1.'],
  [
    'seed above',
    { seed: 2 ** 32 },
    'seed: seed must be a whole number from 0 to 4294967295, but was 4294967296.',
  ],
  ['none', { count: 0 }, 'count: count must be a whole number from 1 to 4, but was 0.'],
  ['five', { count: 5 }, 'count: count must be a whole number from 1 to 4, but was 5.'],
  ['sampler', { sampler: 'ddim' }, 'sampler: sampler must be one of dpmpp_2m, euler, but was "ddim".'],
  [
    'schedule',
    { schedule: '' },
    'schedule: schedule must be one of karras, normal with the sampler dpmpp_2m, but was empty.',
  ],
  ['model', { model: '../../etc' }, 'model: model must be one of mini, but was "../../etc".'],
  ['model type', { model: 7 }, 'model: model must be text, but was 7.'],
  ['format', { format: 'tiff' }, 'format: format must be one of png, jpeg, webp, but was "tiff".'],
  ['quality of a PNG', { quality: 90 }, 'quality: quality requires format jpeg or webp; a PNG is lossless.'],
  [
    'quality too high',
    { format: 'webp', quality: 101 },
    'quality: quality must be a whole number from 1 to 100, but was 101.',
  ],
  [
    'misspelt',
    { negativePrompt: '' },
    'negativePrompt: There is no field negativePrompt. Did you mean negative_prompt?',
  ],
  [
    'foreign',
    { callback: 1 },
    'callback: There is no field callback. The fields are prompt, negative_prompt, width, height, steps, guidance_scale, sampler, schedule, eta, timesteps, guidance_end, pace, seed, count, model, format, quality, priority, previews, vae, loras, clip_skip, init_image, strength, mask, keep, finish, gate, upscaler, hires, decoder, precision, webhook.',
  ],
]

const extras: [string, object, string][] = [
  [
    'sampler of another engine',
    { sampler: 'lms' },
    'sampler: sampler must be one of dpmpp_2m, euler, but was "lms".',
  ],
  [
    'schedule that the sampler lacks',
    { sampler: 'euler', schedule: 'Karras' },
    'schedule: schedule must be one of normal with the sampler euler, but was "Karras".',
  ],
  [
    'schedule in the name of a sampler that lacks it',
    { sampler: 'Euler Exponential' },
    'sampler: The schedule must be one of normal with the sampler euler, but was the exponential of "Euler Exponential".',
  ],
  [
    'schedule said twice and differently',
    { sampler: 'DPM++ 2M Karras', schedule: 'normal' },
    'schedule: schedule must be absent or karras: sampler ("DPM++ 2M Karras") already specifies karras; it was "normal".',
  ],
  [
    'steps of a sampler',
    { sampler: 'euler', steps: 51 },
    'steps: steps must be at most 50 with the sampler euler, but was 51.',
  ],
  ['VAE', { vae: '../sharp' }, 'vae: vae must be one of sharp, but was "../sharp".'],
  [
    'VAE of another family',
    { vae: 'other' },
    'vae: The VAE other is of family sdxl, but the model mini is of family sd1.',
  ],
  ['clip skip', { clip_skip: 0 }, 'clip_skip: clip_skip must be a whole number from 1 to 12, but was 0.'],
  [
    'clip skip of this model',
    { clip_skip: 5 },
    'clip_skip: clip_skip must be from 1 to 4, the layers of the text encoder of mini, but was 5.',
  ],
  ['LoRAs', { loras: 'detail' }, 'loras: loras must be a list of at most 5, but was "detail".'],
  [
    'many LoRAs',
    { loras: [1, 2, 3, 4, 5, 6] },
    'loras: loras must be a list of at most 5, but was a list of 6.',
  ],
  [
    'LoRA entry',
    { loras: ['detail'] },
    'loras: loras[0] must be an object such as {"name": "x", "strength": 0.8}, but was "detail".',
  ],
  [
    'LoRA field',
    { loras: [{ name: 'detail', weight: 1 }] },
    'loras: loras[0] must have only name, strength and text_strength, but has "weight".',
  ],
  ['LoRA name', { loras: [{ strength: 1 }] }, 'loras: loras[0].name must be text, but was missing.'],
  [
    'LoRA strength',
    { loras: [{ name: 'detail' }, { name: 'soft light', strength: 2.5 }] },
    'loras: loras[1].strength must be a number from -2 to 2, but was 2.5.',
  ],
  [
    'misspelt LoRA',
    { loras: [{ name: 'detial' }] },
    'loras: There is no LoRA "detial". Did you mean detail?',
  ],
  [
    'unknown LoRA in the prompt',
    { prompt: 'an apple <lora:../../etc/passwd:1>' },
    'prompt: There is no LoRA "../../etc/passwd". Known LoRAs: detail, soft light.',
  ],
  [
    'LoRA of another family',
    { loras: [{ name: 'foreign' }] },
    'loras: The LoRA foreign is of family sdxl, but the model mini is of family sd1.',
  ],
  [
    'LoRA twice in the field',
    { loras: [{ name: 'detail' }, { name: 'detail', strength: 0.5 }] },
    'loras: loras names the LoRA "detail" twice.',
  ],
  [
    'LoRA twice in the prompt',
    { prompt: '<lora:detail> apple <lora:detail:0.5>' },
    'prompt: prompt names the LoRA "detail" twice.',
  ],
  [
    'LoRA in prompt and field',
    { prompt: 'apple <lora:detail>', loras: [{ name: 'detail' }] },
    'loras: loras names "detail", which the prompt names too: remove one of them.',
  ],
  [
    'LoRA in the negative prompt',
    { negative_prompt: '<lora:detail>' },
    'negative_prompt: negative_prompt must not contain <lora:...>: a LoRA applies to the whole picture, so name it in the prompt.',
  ],
  [
    'strength of a LoRA in the prompt',
    { prompt: 'apple <lora:detail:11>' },
    'prompt: prompt must name a LoRA with a strength from -2 to 2, but has "<lora:detail:11>".',
  ],
  [
    'LoRA of odd form',
    { prompt: 'apple <lora:detail:1:0.5:8>' },
    'prompt: prompt must name a LoRA as <lora:name>, <lora:name:0.8>, or <lora:name:0.8:0.6> for text encoder and UNet, but has "<lora:detail:1:0.5:8>".',
  ],
  [
    'setting of a LoRA in the prompt',
    { prompt: 'apple <lora:detail:1:dyn=8>' },
    'prompt: prompt must set nothing but te and unet of a LoRA, but has "<lora:detail:1:dyn=8>".',
  ],
  [
    'named strength of a LoRA in the prompt',
    { prompt: 'apple <lora:detail:unet=3>' },
    'prompt: prompt must name a LoRA with a strength from -2 to 2, but has "<lora:detail:unet=3>".',
  ],
  [
    'strength of a LoRA for the text encoder',
    { loras: [{ name: 'detail', text_strength: '1' }] },
    'loras: loras[0].text_strength must be a number from -2 to 2, but was "1".',
  ],
  [
    'hypernetwork',
    { prompt: 'apple <hypernet:x:1>' },
    'prompt: prompt names a hypernetwork ("<hypernet:x:1>"), which this service does not support.',
  ],
  ['LoRA alone', { prompt: '<lora:detail>' }, 'prompt: prompt must contain something besides its LoRAs.'],
  ['strength alone', { strength: 0.5 }, 'strength: strength requires init_image.'],
  ['mask alone', { mask: 'x' }, 'mask: mask requires init_image.'],
  [
    'strength of nothing',
    { init_image: 'x', strength: 0 },
    'strength: strength 0 draws nothing, so it requires finish, which says what becomes of init_image, or keep, which cuts the product out.',
  ],
  [
    'strength too small for a step',
    { init_image: 'x', strength: 0.04, steps: 20 },
    'strength: strength must be at least 0.05 with 20 steps, or nothing is repainted, but was 0.04.',
  ],
]

for (const [name, change, fault] of [...single, ...extras]) {
  test(`one sentence says what is wrong: ${name}`, () => {
    assert.deepEqual(faultsOf({ prompt: 'an apple', ...change }), [fault])
  })
}

test('long values are shortened, and control characters never echoed', () => {
  const [long] = faultsOf({ prompt: 'x'.repeat(2001) })
  assert.match(long ?? '', /but was "x{60}"\.\.\. \(2001 characters\)\.$/)
  const [hostile] = faultsOf({ prompt: 'x', sampler: '\u001b[2J\n<script>' })
  assert.match(hostile ?? '', /but was "\\u001b\[2J\\n<script>"\.$/)
  assert.equal(faultsOf(JSON.parse(`{"prompt": ${'['.repeat(20_000)}${']'.repeat(20_000)}}`)).length, 1)
})

test('a prompt has a limit in bytes too', () => {
  const limits = { ...defaultLimits, promptBytes: 10 }
  resolveRequest({ prompt: '\u00e9'.repeat(5) }, offer, limits)
  assert.throws(() => resolveRequest({ prompt: '\u00e9'.repeat(6) }, offer, limits), {
    message: 'prompt must have at most 10 bytes in UTF-8, but had 12.',
  })
})

test('every fault is named at once', () => {
  const faults = faultsOf({ prompt: '', steps: 0, width: 100, sampler: 'x', colour: 'red' })
  assert.deepEqual(
    faults.map((fault) => fault.split(':')[0]),
    ['colour', 'prompt', 'steps', 'width', 'sampler'],
  )
})

test('many unknown fields do not make a long answer', () => {
  const body = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`field ${i}`, 1]))
  assert.equal(faultsOf({ prompt: 'x', ...body }).length, 10)
})

test('a body that is no object is refused', () => {
  for (const body of [undefined, null, 5, 'x', [], true]) {
    assert.match(faultsOf(body)[0] ?? '', /^body: The body must be a JSON object such as /)
  }
})

test('what the optional fields say is kept, and what says nothing is left out', () => {
  const plain = resolve({ prompt: 'x' })
  assert.deepEqual(resolve({ prompt: 'x', clip_skip: 1, loras: [] }), plain)
  const asked = {
    vae: 'sharp',
    loras: [{ name: 'detail', strength: -2 }],
    clip_skip: 2,
    init_image: 'upload-1',
    strength: 0.5,
    mask: 'upload-2',
  }
  assert.deepEqual(resolve({ prompt: 'x', ...asked }), { ...plain, ...asked })
  assert.deepEqual(resolve({ prompt: 'x', init_image: 'a' }), { ...plain, init_image: 'a', strength: 0.75 })
})

test('a LoRA may have two strengths, in prompts as A1111 writes them: text encoder, then UNet', () => {
  const written = (tag: string) => resolve({ prompt: `an apple <lora:detail:${tag}>` }).loras?.[0]
  const both = { name: 'detail', strength: 0.6, text_strength: 0.8 }
  for (const tag of [
    '0.8:0.6',
    ' .8 : .6 ',
    'te=0.8:unet=0.6',
    '0.8:unet=0.6',
    'unet=0.6:0.8',
    '2:0.6:TE=0.8',
  ]) {
    assert.deepEqual(written(tag), both, tag)
  }
  assert.deepEqual(resolve({ prompt: 'x', loras: [both] }).loras, [both])
  const same = { name: 'detail', strength: 0.7 }
  for (const tag of ['0.7', '0.7:0.7', 'te=0.7']) assert.deepEqual(written(tag), same, tag)
  assert.deepEqual(resolve({ prompt: 'x', loras: [{ ...same, text_strength: 0.7 }] }).loras, [same])
  assert.deepEqual(written('unet=0'), { name: 'detail', strength: 0, text_strength: 1 })
})

test('LoRAs of the prompt are taken out of it and join those of the field', () => {
  const { prompt, loras } = resolve({
    prompt: 'an apple <LORA: soft light : .8>, red <not:a lora>',
    loras: [{ name: 'detail' }],
  })
  assert.equal(prompt, 'an apple , red <not:a lora>')
  assert.deepEqual(loras, [
    { name: 'detail', strength: 1 },
    { name: 'soft light', strength: 0.8 },
  ])
})

test('a sampler brings its schedule, by whatever name', () => {
  const choice = (body: object) => {
    const { sampler, schedule } = resolve({ prompt: 'x', ...body })
    return `${sampler} ${schedule}`
  }
  assert.equal(choice({}), 'dpmpp_2m karras')
  assert.equal(choice({ sampler: 'euler' }), 'euler normal')
  assert.equal(choice({ sampler: 'euler', schedule: 'Automatic' }), 'euler normal')
  assert.equal(choice({ schedule: 'normal' }), 'dpmpp_2m normal')
  assert.equal(choice({ sampler: 'DPM++ 2M Karras' }), 'dpmpp_2m karras')
  assert.equal(choice({ sampler: 'DPM++ 2M Karras', schedule: 'Karras' }), 'dpmpp_2m karras')
})

test('a model that fills in, and one that cannot read pictures, say so', () => {
  const of = (change: Partial<ModelInfo>, body: object) =>
    resolveRequest(
      { prompt: 'x', ...body },
      { ...offer, models: [{ ...model, ...change }] },
      defaultLimits,
      1,
    ).request
  assert.throws(() => of({ inpainting: true }, {}), {
    param: 'init_image',
    message: 'init_image is missing: the model mini only inpaints.',
  })
  assert.equal(of({ inpainting: true }, { init_image: 'a' }).mask, undefined)
  assert.throws(() => of({ image_to_image: false }, { init_image: 'a' }), {
    param: 'init_image',
    message: /no encoder/,
  })
  assert.equal(of({ image_to_image: false }, { init_image: 'a', vae: 'sharp' }).vae, 'sharp')
})

test('comments are not drawn, and tags that nobody knows stay for a note', () => {
  const { prompt, negative_prompt } = resolve({
    prompt: '# a blue box\na red apple # or a pear\non wood <segment:box:0.5>',
    negative_prompt: 'blur # not too much',
  })
  assert.deepEqual([prompt, negative_prompt], ['a red apple  on wood <segment:box:0.5>', 'blur'])
  assert.deepEqual(faultsOf({ prompt: '# only a comment' }), [
    'prompt: prompt must be text of 1 to 2000 characters, but was empty.',
  ])
  assert.deepEqual(faultsOf({ prompt: '<segment:box>' }), [
    'prompt: prompt must contain something besides its LoRAs.',
  ])
})

test('what is there but cannot be used is refused with the reason, before there is a job', () => {
  const problem = 'this is a GLoRA, which is not supported'
  const other = 'is made for Stable Diffusion 1.x, whose text states are 768 wide'
  const addOns = [
    { name: 'bad', family: 'sd1', problem },
    { name: 'wide', family: 'sd1', misfits: new Map([['mini', other]]) },
    { name: 'good', family: 'sd1', misfits: new Map([['large', other]]) },
  ]
  const all = {
    ...offer,
    loras: addOns,
    vaes: addOns,
    unusable: [{ name: 'Page', problem: 'this is a web page' }],
  }
  const faults = (body: object) => {
    try {
      resolveRequest({ prompt: 'x', ...body }, all, defaultLimits, 1)
      return []
    } catch (thrown) {
      return (thrown as AppError).faults.map(({ message }) => message)
    }
  }
  assert.deepEqual(faults({ loras: [{ name: 'bad' }] }), [`The LoRA bad cannot be used: ${problem}.`])
  assert.deepEqual(faults({ prompt: 'x <lora:wide>' }), [`The LoRA wide ${other}.`])
  assert.deepEqual(faults({ loras: [{ name: 'good' }], vae: 'GOOD' }), [])
  assert.deepEqual(faults({ vae: 'bad' }), [`The VAE bad cannot be used: ${problem}.`])
  assert.deepEqual(faults({ vae: 'wide' }), [`The VAE wide ${other}.`])
  assert.deepEqual(faults({ vae: 'x' }), ['vae must be one of good, but was "x".'])
  assert.deepEqual(faults({ loras: [{ name: 'x' }] }), ['There is no LoRA "x". Known LoRAs: good.'])
  assert.deepEqual(faults({ model: 'page' }), ['The model Page cannot be used: this is a web page.'])
})

test('a model without a VAE takes the only one, or asks for a choice', () => {
  const vaes = ['one', 'two'].map((name) => ({ name, family: 'sd1' }))
  const of = (change: Partial<ModelInfo>, body: object = {}) =>
    resolveRequest(
      { prompt: 'x', ...body },
      { ...offer, vaes, models: [{ ...model, needs_vae: true, ...change }] },
      defaultLimits,
      1,
    ).request.vae
  assert.equal(of({ default_vae: 'one' }), 'one')
  assert.equal(of({ default_vae: 'one' }, { vae: 'TWO' }), 'two')
  assert.throws(() => of({}), {
    param: 'vae',
    message: 'vae is missing: the model mini has none of its own; name one of one, two.',
  })
})

test('long lists are cut', () => {
  const loras = Array.from({ length: 100 }, (_, i) => ({ name: `style number ${i}`, family: 'sd1' }))
  assert.throws(() => resolveRequest({ prompt: 'x <lora:?>' }, { ...offer, loras }, defaultLimits, 1), {
    message: /Known LoRAs: style number 0, .*, style number 29 and 70 more\.$/,
  })
})

test('names of models, VAEs and LoRAs are found in any case, and the request has them as they are installed', () => {
  const request = resolve({
    prompt: 'x <lora:DETAIL:0.5>',
    model: 'MINI',
    vae: offer.vaes.find(({ family }) => family === model.family)?.name.toUpperCase(),
  })
  const { name: lora } = offer.loras.find(({ name }) => name === 'detail') ?? { name: '' }
  assert.deepEqual([request.model, request.loras], ['mini', [{ name: lora, strength: 0.5 }]])
  assert.equal(
    offer.vaes.some(({ name }) => name === request.vae),
    true,
  )
  assert.deepEqual(faultsOf({ prompt: 'x <lora:Detail>', loras: [{ name: 'detail' }] }), [
    'loras: loras names "detail", which the prompt names too: remove one of them.',
  ])
})

test('a name is found however Unicode composes it', () => {
  const loras = [{ name: 'cafe\u0301', family: 'sd1' }]
  const { request } = resolveRequest({ prompt: 'x <lora:CAF\u00c9>' }, { ...offer, loras }, defaultLimits, 1)
  assert.deepEqual(request.loras, [{ name: 'cafe\u0301', strength: 1 }])
})

test('a picture is a PNG by default, and what is not has a quality', () => {
  const file = (body: object) => {
    const { format, quality } = resolve({ prompt: 'x', ...body })
    return [format, quality]
  }
  assert.deepEqual(file({}), ['png', undefined])
  assert.deepEqual(file({ format: 'jpeg' }), ['jpeg', 90])
  assert.deepEqual(file({ format: 'webp', quality: 1 }), ['webp', 1])
})
