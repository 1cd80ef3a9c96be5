import { AppError } from '../../../jobs/errors.ts'
import { describeValue, listed } from '../../../jobs/wording.ts'
import type { FieldNames } from '../faults.ts'
import type { Wanted } from '../given-pictures.ts'
import { fieldsOf, given, withoutAbsent } from '../json-bodies.ts'

/** The body of a fal request, which is the input itself. Fields that are not here have no effect (docs/dialects.md). */

type Fields = Readonly<Record<string, unknown>>

/** Ours, and theirs. */
export const inputNames = {
  count: 'num_images',
  steps: 'num_inference_steps',
  sampler: 'scheduler',
  format: 'output_format',
  init_image: 'image_url',
  mask: 'mask_url',
} as const satisfies FieldNames

/** Under the same name here and there. */
const same = ['prompt', 'negative_prompt', 'guidance_scale', 'seed', 'clip_skip', 'vae']

const sizes: Readonly<Record<string, readonly [width: number, height: number]>> = {
  square_hd: [1024, 1024],
  square: [512, 512],
  portrait_4_3: [768, 1024],
  portrait_16_9: [576, 1024],
  landscape_4_3: [1024, 768],
  landscape_16_9: [1024, 576],
}

/** Throws `invalid_request` for what is no input. */
export function requestOf(
  input: unknown,
  { model, priority }: { readonly model: string; readonly priority: string | undefined },
): Omit<Wanted, 'webhook'> {
  const fields = fieldsOf(input)
  if (fields.prompt === undefined && typeof fields.input === 'object' && fields.input !== null) {
    const message = 'prompt is missing: the body is the input itself, without "input" around it.'
    throw new AppError('invalid_request', message, { param: 'prompt' })
  }
  const image = given(fields, 'image_url')
  const mask = given(fields, 'mask_url', 'mask_image_url')
  const format = given(fields, 'output_format', 'format')
  return {
    body: withoutAbsent({
      ...Object.fromEntries(same.map((name) => [name, given(fields, name)])),
      ...sizeOf(fields),
      model,
      priority: priority === 'low' ? 'batch' : undefined,
      count: given(fields, 'num_images'),
      steps: given(fields, 'num_inference_steps'),
      sampler: given(fields, 'scheduler'),
      format: format === 'jpg' ? 'jpeg' : format,
      strength: image === undefined ? undefined : given(fields, 'strength'),
      loras: lorasOf(fields.loras),
    }),
    pictures: [
      ...(image === undefined ? [] : [{ field: 'init_image' as const, param: 'image_url', value: image }]),
      ...(mask === undefined ? [] : [{ field: 'mask' as const, param: 'mask_url', value: mask }]),
    ],
  }
}

/** `image_size`: a name, or both sides. */
function sizeOf(fields: Fields) {
  const size = fields.image_size ?? undefined
  if (size === undefined) return { width: given(fields, 'width'), height: given(fields, 'height') }
  if (typeof size === 'object' && !Array.isArray(size)) {
    return { width: given(size as Fields, 'width'), height: given(size as Fields, 'height') }
  }
  const named = typeof size === 'string' && Object.hasOwn(sizes, size) ? sizes[size] : undefined
  if (named !== undefined) return { width: named[0], height: named[1] }
  const names = listed(Object.keys(sizes))
  const message = `image_size must be an object with width and height, or one of ${names}, but was ${describeValue(size)}.`
  throw new AppError('invalid_request', message, { param: 'image_size' })
}

/** A list of `{path, scale}` there, of `{name, strength}` here. */
function lorasOf(list: unknown): unknown {
  if (!Array.isArray(list)) return list ?? undefined
  const entries = list.map((each: unknown) => {
    if (typeof each !== 'object' || each === null) return each
    const { path, scale, ...rest } = each as Fields
    return withoutAbsent({ name: path, strength: scale, ...rest })
  })
  return entries.length === 0 ? undefined : entries
}
