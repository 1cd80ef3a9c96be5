import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { infotext } from '../../diffusion/output/infotext.ts'
import { engineRequest } from '../../generator/engine-request.ts'
import { defaultLimits, type JobRequest, type RequestFieldName, requestFields } from '../../jobs/fields.ts'
import { FinishAsked } from '../../jobs/finish.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import { resolveRequest } from '../../jobs/request/resolve.ts'
import type { Contents } from '../../library/library.ts'
import { offerOf } from '../../library/offer-source.ts'
import { readFields, requestBody, valuesOfRequest } from './form-values.ts'
import { readBack } from './read-back.ts'

/**
 * Every field of the table, there and back: "Copy settings" of a job, and what is read back from its picture, ask for the
 * same picture. A field that is added to the table fails here until it has a place in both, or a reason.
 */

const model = {
  name: 'shelf',
  path: 'shelf.safetensors',
  family: 'sd1' as const,
  width: 512,
  height: 512,
  steps: 20,
  guidance_scale: 7,
  size_multiple: 8,
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
}
const addOn = (kind: 'lora' | 'vae' | 'upscaler' | 'tiny_vae' | 'embedding', name: string) => ({
  kind,
  name,
  path: `${name}.safetensors`,
})
const contents = {
  models: [{ ...model, name: 'first', path: 'first.safetensors' }, model],
  addOns: [
    addOn('lora', 'detail'),
    addOn('lora', 'soft light'),
    addOn('lora', 'swift'),
    addOn('vae', 'sharp'),
    addOn('upscaler', 'x4'),
    addOn('tiny_vae', 'taesd'),
  ],
  unusable: [],
} as unknown as Contents
const known = offerOf(contents)
const fits = <Each>(all: readonly Each[] = []) => all.map((each) => ({ ...each, family: 'sd1' as const }))
const instant = {
  sampler: 'lcm',
  schedule: 'normal',
  steps: 1,
  guidance_scale: 1,
  timesteps: [800],
  order: 1,
}
const swift = { sampler: 'tcd', schedule: 'sgm_uniform', steps: 4, guidance_scale: 1, eta: 0.3, order: 1 }
const offer = {
  ...known,
  vaes: fits(known.vaes),
  tiny_vaes: fits(known.tiny_vaes),
  loras: fits(known.loras).map((lora) =>
    lora.name === 'swift' ? { ...lora, paces: { quick: swift, instant } } : lora,
  ),
  upscalers: (known.upscalers ?? []).map((each) => ({ ...each, enlarges: { scale: 4, units: 1 } })),
}
const resolve = (body: unknown) => resolveRequest(body, offer, defaultLimits, 1).request
const base: JobRequest = { prompt: 'a red apple, studio light', seed: 41 }

/** A value of each field that is not its default, with what else it needs. */
const samples: Partial<Record<RequestFieldName, Partial<JobRequest>[]>> = {
  prompt: [
    { prompt: 'line one\nline two, "quoted": (heavy:1.2) \\(plain\\)' },
    { prompt: 'a pear <lora:detail:0.5> on wood' },
  ],
  negative_prompt: [{ negative_prompt: 'blurry, text: "any"\nsecond line' }],
  width: [{ width: 384 }],
  height: [{ height: 640 }],
  steps: [{ steps: 13 }],
  guidance_scale: [{ guidance_scale: 1e-7 }, { guidance_scale: 4.123456789012345 }],
  sampler: offer.samplers
    .of(model)
    .filter(({ name }) => name !== 'dpmpp_2m')
    .map(({ name, max_steps }) => ({ sampler: name, ...(max_steps && { steps: max_steps }) })),
  schedule: offer.samplers
    .of(model)
    .flatMap(({ name, schedules, default_schedule }) =>
      schedules
        .filter((schedule) => schedule !== default_schedule)
        .map((schedule) => ({ sampler: name, schedule })),
    ),
  eta: [
    { sampler: 'ddim', eta: 0.25 },
    { sampler: 'tcd', eta: 1e-7 },
  ],
  timesteps: [
    { sampler: 'tcd', timesteps: [999, 749, 499, 249] },
    { sampler: 'tcd', timesteps: [800] },
  ],
  guidance_end: [{ guidance_end: 0.5 }, { guidance_end: 0.3333333333333333 }],
  pace: [
    { pace: 'quick' },
    { pace: 'instant' },
    { pace: 'quick', steps: 6, loras: [{ name: 'detail', strength: 0.5 }] },
  ],
  seed: [{ seed: 2 ** 32 - 1 }, { seed: 0 }],
  model: [{ model: 'shelf' }],
  vae: [{ vae: 'sharp' }],
  loras: [
    { loras: [{ name: 'detail' }] },
    {
      loras: [
        { name: 'soft light', strength: -0.75 },
        { name: 'detail', strength: 0.6, text_strength: 0.8 },
      ],
    },
  ],
  clip_skip: [{ clip_skip: 2 }],
  finish: [
    { finish: { preset: 'amazon_main' } },
    { finish: { preset: 'shop_square', background: '#f0eadd', fill: 61.5, shadow: 'soft' } },
    { finish: { background: 'transparent', width: 1600, height: 1200, margin: 7.5 } },
    { finish: { background: '#FFFFFF', margin: { top: 1, right: 2, bottom: 30, left: 4.25 } } },
    { finish: { max_bytes: 350_000 } },
    { finish: { background: 'as_made', fill: 70 } },
  ],
  gate: [{ gate: { tries: 3 } }],
  upscaler: [{ upscaler: 'x4' }],
  hires: [
    { hires: { scale: 2 } },
    { width: 384, hires: { scale: 1.6666666666666667, strength: 0.3, steps: 7, upscaler: 'x4' } },
    { hires: { width: 768, height: 1024 } },
  ],
  decoder: [{ decoder: 'taesd' }],
  precision: [{ precision: 'int8' }],
  count: [{ count: 3 }],
  format: [{ format: 'webp' }],
  quality: [{ format: 'jpeg', quality: 71 }],
  init_image: [{ init_image: 'p'.repeat(26), strength: 0.6 }],
  strength: [{ init_image: 'p'.repeat(26), strength: 0.33 }],
  mask: [{ init_image: 'p'.repeat(26), strength: 0.6, mask: 'm'.repeat(26) }],
  keep: [{ init_image: 'p'.repeat(26), keep: 'product' }],
}

/** Fields that are no setting of a picture: whoever asks again says them anew. */
const notOfThePicture: readonly RequestFieldName[] = ['priority', 'previews', 'webhook']

/** Fields that a file does not carry: how many there were, its own kind, and a photo, which stays with who uploaded it. */
const notInTheFile: readonly RequestFieldName[] = [
  'count',
  'format',
  'quality',
  'init_image',
  'strength',
  'mask',
  'keep',
]

const names = Object.keys(requestFields) as RequestFieldName[]
const casesOf = (name: RequestFieldName) => (samples[name] ?? []).map((more) => ({ ...base, ...more }))

/** The text that the file of a picture carries. */
function textOf(request: ResolvedRequest): string {
  return infotext(engineRequest(request, request.seed, contents), { ...request, version: '1.0.0' })
}

suite('every field of a request, there and back', () => {
  test('has samples here, that differ from its default', () => {
    const without = names.filter((name) => !notOfThePicture.includes(name) && casesOf(name).length === 0)
    assert.deepEqual(without, [])
    for (const name of names) {
      for (const body of casesOf(name)) {
        assert.notDeepEqual(resolve(body), resolve(base), `${name}: ${JSON.stringify(body)}`)
      }
    }
    const finishes = (samples.finish ?? []).flatMap(({ finish = {} }) => Object.keys(finish))
    assert.deepEqual(new Set(finishes), new Set(Object.keys(FinishAsked.properties)))
  })

  for (const name of names.filter((each) => !notOfThePicture.includes(each))) {
    test(`${name}: copied settings ask for the same`, () => {
      for (const body of casesOf(name)) {
        const request = resolve(body)
        const again = requestBody(valuesOfRequest(request))
        assert.deepEqual(resolve(again), request, JSON.stringify(body))
      }
    })
  }

  for (const name of names.filter((each) => ![...notOfThePicture, ...notInTheFile].includes(each))) {
    test(`${name}: what is read from the file asks for the same picture`, () => {
      for (const body of casesOf(name)) {
        const text = textOf(resolve(body))
        assert.notEqual(text, textOf(resolve(base)), 'the file says it')
        const { values = {}, notes } = readBack(text, offer) ?? {}
        assert.deepEqual(notes, [], text)
        assert.equal(textOf(resolve(requestBody(readFields(values)))), text)
      }
    })
  }
})
