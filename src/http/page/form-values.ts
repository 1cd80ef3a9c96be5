import type { ResolvedRequest } from '../../jobs/job.ts'
import { onBackground } from './backgrounds.ts'

/** The fields behind "More settings". */
export const advancedFields = [
  'negative_prompt',
  'width',
  'height',
  'steps',
  'guidance_scale',
  'seed',
  'sampler',
  'schedule',
  'model',
  'loras',
  'vae',
  'clip_skip',
] as const

/** The fields of the picture to start from. */
const photoFields = ['init_image', 'mask', 'strength'] as const

/** The fields of the form by their names, which are those of the API; `size` and `background` are the page's own. */
export const fieldNames = [
  'prompt',
  'background',
  ...photoFields,
  'size',
  'count',
  ...advancedFields,
] as const
export type FieldName = (typeof fieldNames)[number]

/** What stands in each field, as typed. An empty text means that nothing was said. */
export type FormValues = Readonly<Record<FieldName, string>>

const numericFields = ['count', 'width', 'height', 'steps', 'guidance_scale', 'seed', 'clip_skip'] as const
const textFields = ['negative_prompt', 'sampler', 'schedule', 'model', 'vae', 'init_image'] as const

/** Reads a posted form or a query. Of a field that comes twice the first counts; foreign fields are left out. */
export function readFields(input: unknown): FormValues {
  const given: Readonly<Record<string, unknown>> =
    typeof input === 'object' && input !== null ? { ...input } : {}
  const entries = fieldNames.map((name) => [name, firstText(given[name])])
  return Object.fromEntries(entries) as Record<FieldName, string>
}

function firstText(value: unknown): string {
  const first: unknown = Array.isArray(value) ? value[0] : value
  return typeof first === 'string' ? first : ''
}

/**
 * The request that a form asks for, in the shape of the API. It is checked there and nowhere else: what is no
 * number is handed on as it was typed, so that the error can say so. Throws `invalid_request` for a background that
 * there is not.
 */
export function requestBody(values: FormValues): Record<string, unknown> {
  const prompt = onBackground(values.prompt, values.background)
  const body: Record<string, unknown> = { prompt, ...sizeOf(values.size) }
  for (const name of numericFields) {
    const text = values[name].trim()
    if (text !== '') body[name] = numberOr(text)
  }
  for (const name of textFields) {
    if (values[name] !== '') body[name] = values[name]
  }
  if (values.loras.trim() !== '') body.loras = lorasOf(values.loras)
  // a slider always stands somewhere: without a picture it says nothing
  if (values.init_image !== '') {
    if (values.strength !== '') body.strength = numberOr(values.strength)
    if (values.mask !== '') body.mask = values.mask
  }
  return body
}

function numberOr(text: string): number | string {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
}

/** `detail:0.8, soft light`; what is no strength is left in the name, for the service to say that there is none of it. */
function lorasOf(text: string): { name: string; strength?: number }[] {
  const entries = text.split(',').map((entry) => entry.trim())
  return entries
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [, name = entry, strength] = /^(.*\S)\s*:\s*(-?\d*\.?\d+)$/.exec(entry) ?? []
      return strength === undefined ? { name } : { name, strength: Number(strength) }
    })
}

function textOf({ loras, ...settings }: Partial<ResolvedRequest>): Record<string, string> {
  const texts = Object.entries(settings).map(([name, value]) => [name, String(value)])
  const uses = loras?.map(({ name, strength }) => (strength === 1 ? name : `${name}:${strength}`))
  return { ...Object.fromEntries(texts), ...(uses === undefined ? {} : { loras: uses.join(', ') }) }
}

/** Width and height, where they are filled in, count more than the size that was chosen from the list. */
function sizeOf(size: string): Record<string, unknown> {
  if (size === '') return {}
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(size) ?? []
  return width === undefined ? { width: size } : { width: Number(width), height: Number(height) }
}

/** Longer addresses are cut or refused on their way; 16 KiB is all that Node reads of a request's head. */
const longestAddress = 6000

/**
 * The address of the form filled in with the settings of a job: a recipe that can be kept after the job is gone.
 * A prompt that is too long for an address is left out, and the job named in its place.
 */
export function againAddress(jobId: string, request: ResolvedRequest, seed: number, count: number): string {
  const { format: _, ...settings } = request
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(textOf({ ...settings, seed, count }))) {
    if (value !== '') query.set(name, value)
  }
  const address = `/?${query}`
  if (address.length <= longestAddress) return address
  return `/?${new URLSearchParams({ from: jobId, seed: String(seed), count: String(count) })}`
}

/** The fields filled in with the settings of a job. */
export function valuesOfRequest(request: ResolvedRequest): FormValues {
  return readFields(textOf(request))
}
