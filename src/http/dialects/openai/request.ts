import { AppError } from '../../../jobs/errors.ts'
import { type ImageFormat, imageFormats } from '../../../jobs/fields.ts'
import { describeValue } from '../../../jobs/wording.ts'
import type { FieldNames } from '../faults.ts'
import { countOf, given, withoutAbsent } from '../json-bodies.ts'

/** A call of images.generate or images.edit as a request of ours. docs/dialects.md lists what is ignored. */

/** Ours, and theirs. */
export const openAiNames: FieldNames = {
  width: 'size',
  height: 'size',
  format: 'output_format',
  quality: 'output_compression',
  count: 'n',
}

export interface ImageCall {
  /** A body of POST /v1/jobs, without `count`. */
  readonly body: Readonly<Record<string, unknown>>
  readonly total: number
  /** Answer with addresses rather than pictures. */
  readonly urls: boolean
  readonly stream: boolean
  /** Partial pictures wanted in a stream. */
  readonly partials: number
}

type Fields = Readonly<Record<string, unknown>>

/** The API's own maximum. */
const mostPictures = 10
const mostPartials = 3

/** Rejects `invalid_request`. What is checked by the service, such as the name of the model, is passed on. */
export function imageCallOf(fields: Fields): ImageCall {
  const format = formatOf(fields)
  const compression = given(fields, 'output_compression')
  if (given(fields, 'background') === 'transparent') {
    throw invalid('background', 'background must be opaque or auto: pictures have no transparency.')
  }
  return {
    body: withoutAbsent({
      prompt: given(fields, 'prompt'),
      model: given(fields, 'model'),
      ...sizeOf(fields),
      format,
      // a PNG has none, and clients send it with their own default
      quality: format === 'png' || compression === undefined ? undefined : Math.max(1, Number(compression)),
      negative_prompt: given(fields, 'negative_prompt'),
      seed: given(fields, 'seed'),
      steps: given(fields, 'steps', 'num_inference_steps', 'step'),
      guidance_scale: given(fields, 'guidance_scale', 'cfg_scale'),
      sampler: given(fields, 'sampler'),
      strength: given(fields, 'strength'),
    }),
    total: countOf(given(fields, 'n'), 'n', mostPictures),
    urls: choiceOf(fields, 'response_format', ['b64_json', 'url']) === 'url',
    stream: flagOf(fields, 'stream'),
    partials: partialsOf(fields),
  }
}

function formatOf(fields: Fields): ImageFormat {
  return choiceOf(fields, 'output_format', imageFormats)
}

/** The first of `choices` if absent. */
function choiceOf<const Choice extends string>(fields: Fields, name: string, choices: readonly Choice[]) {
  const value = given(fields, name)
  const found = value === undefined ? choices[0] : choices.find((choice) => choice === value)
  if (found !== undefined) return found
  throw invalid(name, `${name} must be one of ${choices.join(', ')}, but was ${describeValue(value)}.`)
}

/** `auto` is the model's own size. */
function sizeOf(fields: Fields): { width?: number; height?: number } {
  const size = given(fields, 'size')
  if (size === undefined || size === 'auto') return {}
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(String(size)) ?? []
  if (width !== undefined && height !== undefined) return { width: Number(width), height: Number(height) }
  throw invalid('size', `size must be auto or WIDTHxHEIGHT, such as 512x512, but was ${describeValue(size)}.`)
}

function flagOf(fields: Fields, name: string): boolean {
  const value = given(fields, name)
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw invalid(name, `${name} must be true or false, but was ${describeValue(value)}.`)
}

function partialsOf(fields: Fields): number {
  const value = given(fields, 'partial_images')
  return value === undefined || value === 0 ? 0 : countOf(value, 'partial_images', mostPartials)
}

/** The fields of a form are text: those that are numbers or flags in JSON become so. */
export function fieldsOfForm(form: ReadonlyMap<string, string>): Fields {
  return Object.fromEntries([...form].map(([name, text]) => [name, formValue(name, text)]))
}

const texts = ['prompt', 'negative_prompt', 'model', 'sampler', 'size']

function formValue(name: string, text: string): string | number | boolean {
  if (texts.includes(name)) return text
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?\d{1,15}(\.\d{1,10})?$/.test(text) ? Number(text) : text
}

function invalid(param: string, message: string): AppError {
  return new AppError('invalid_request', message, { param })
}
