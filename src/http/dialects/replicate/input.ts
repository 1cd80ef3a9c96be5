import { AppError } from '../../../jobs/errors.ts'
import { describeValue } from '../../../jobs/wording.ts'
import type { FieldNames } from '../faults.ts'
import type { Wanted } from '../given-pictures.ts'
import { given, withoutAbsent } from '../json-bodies.ts'

/** The `input` of a prediction, and the request that it is. Fields that are not here have no effect (docs/dialects.md). */

type Fields = Readonly<Record<string, unknown>>

/** Ours, and theirs. */
export const inputNames = {
  count: 'num_outputs',
  steps: 'num_inference_steps',
  sampler: 'scheduler',
  format: 'output_format',
  quality: 'output_quality',
  strength: 'prompt_strength',
  init_image: 'image',
} as const satisfies FieldNames

/** Under the same name here and there. */
const same = ['prompt', 'negative_prompt', 'width', 'height', 'guidance_scale', 'seed', 'clip_skip', 'vae']

/** Names of Stable Diffusion's schedulers there that no other program has. */
const schedulers: Readonly<Record<string, string>> = { KarrasDPM: 'DPM++ 2M Karras' }

/** Throws `invalid_request` for what is no input. `model` is absent for the default. */
export function requestOf(input: unknown, model: string | undefined): Omit<Wanted, 'webhook'> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    const message = `input must be an object such as {"prompt": "a red apple"}, but was ${describeValue(input)}.`
    throw new AppError('invalid_request', message, { param: 'input' })
  }
  const fields = input as Fields
  if ('auth' in fields && 'baseUrl' in fields) {
    // what replicate 1.4.0 sends with fileEncodingStrategy "data-uri"
    const message =
      'input is the client itself, with its token: this is a fault of the client with fileEncodingStrategy "data-uri". Leave that option out.'
    throw new AppError('invalid_request', message, { param: 'input' })
  }
  const image = given(fields, 'image', 'init_image')
  const mask = given(fields, 'mask')
  const scheduler = given(fields, 'scheduler')
  const format = given(fields, 'output_format')
  const lossy = format !== undefined && format !== 'png'
  return {
    body: withoutAbsent({
      ...Object.fromEntries(same.map((name) => [name, given(fields, name)])),
      model,
      count: given(fields, 'num_outputs'),
      steps: given(fields, 'num_inference_steps'),
      sampler: schedulers[String(scheduler)] ?? scheduler,
      format: format === 'jpg' ? 'jpeg' : format,
      // forms there send it with every format
      quality: lossy ? given(fields, 'output_quality') : undefined,
      strength: image === undefined ? undefined : given(fields, 'prompt_strength'),
      loras: lorasOf(fields),
    }),
    pictures: [
      ...(image === undefined ? [] : [{ field: 'init_image' as const, param: 'image', value: image }]),
      ...(mask === undefined ? [] : [{ field: 'mask' as const, param: 'mask', value: mask }]),
    ],
  }
}

/** One as there, or a list as here. */
function lorasOf(fields: Fields): unknown {
  const name = given(fields, 'lora_weights')
  if (name === undefined || name === '') return fields.loras ?? undefined
  const strength = given(fields, 'lora_scale')
  return [withoutAbsent({ name, strength })]
}
