import { type FormField, type FormFieldName, fieldEntries } from '../../jobs/fields.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import type { ModelInfo } from '../../jobs/offer.ts'
import { finishFieldNames, finishOf, finishTexts } from './form-finish.ts'
import { hiresOf, hiresTexts, largerFieldNames } from './form-larger.ts'
import { fromWords, inWords } from './wording.ts'

/** The fields of the table that the form has, in its order. */
const formFields = fieldEntries.flatMap(([name, { form }]) =>
  form === undefined ? [] : [[name as FormFieldName, { form }] as const],
)

function namesIn(place: FormField['place']): FormFieldName[] {
  return formFields.filter(([, { form }]) => form.place === place).map(([name]) => name)
}

/** The fields behind "More settings". */
export const advancedFields = namesIn('more')

/** Fields that the page alone has: choices that become words, the list of sizes, and the model whose defaults are shown. */
const ownNames = ['background', 'light', 'view', 'many', 'size', 'shown_model'] as const

/** The fields of the form by their names, which are those of the API, with `finish_` before those of `finish`. */
export const fieldNames = [
  'prompt',
  ...ownNames,
  ...finishFieldNames,
  ...largerFieldNames,
  ...namesIn('photo'),
  ...namesIn('main').filter((name) => name !== 'prompt'),
  ...advancedFields,
] as const
export type FieldName =
  | FormFieldName
  | (typeof ownNames)[number]
  | (typeof finishFieldNames)[number]
  | (typeof largerFieldNames)[number]

/** The content of each field, as typed. An empty text means not given. */
export type FormValues = Readonly<Record<FieldName, string>>

/** Reads a posted form or a query. If a field comes twice the first counts; unknown fields are omitted. */
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

/** Whose words the form's choices become. */
type Wording = Pick<ModelInfo, 'controls'>

/**
 * The request that a form asks for, in the shape of the API. It is checked only there: an invalid
 * number is passed on as typed, so that the error can show it. Throws `invalid_request` for an unknown background.
 */
export function requestBody(given: FormValues, { controls }: Wording = {}): Record<string, unknown> {
  // explicit timesteps take the place of both, of which the form always has one
  const values = given.timesteps.trim() === '' ? given : { ...given, steps: '', schedule: '' }
  const prompt = inWords(values, controls)
  const body: Record<string, unknown> = {
    prompt,
    ...sizeOf(values.size),
    ...finishOf(values),
    ...hiresOf(values),
  }
  for (const [name, { form }] of formFields) {
    // the slider always has a value; ignore it unless there is a picture
    const ignored =
      form.place === 'photo' && (values.init_image === '' || (name === 'strength' && values.keep !== ''))
    const value = ignored ? undefined : valueFrom(form.as, values[name])
    if (name !== 'prompt' && value !== undefined) body[name] = value
  }
  return body
}

/** The typed text as a value of a request; undefined if the field is empty. */
function valueFrom(as: FormField['as'], text: string): unknown {
  if (as === 'number') return text.trim() === '' ? undefined : numberOr(text.trim())
  if (as === 'numbers')
    return text.trim() === ''
      ? undefined
      : text
          .trim()
          .split(/[\s,]+/)
          .map(numberOr)
  if (as === 'loras') return text.trim() === '' ? undefined : lorasOf(text)
  return text === '' ? undefined : text
}

function numberOr(text: string): number | string {
  return /^-?\d+(\.\d+)?(e-?\d{1,2})?$/.test(text) ? Number(text) : text
}

const strengths = /^(.*?\S)\s*:\s*(-?\d*\.?\d+)(?:\s*:\s*(-?\d*\.?\d+))?$/

/**
 * `detail:0.8, soft light, line:0.8:0.6` (of two strengths the first is for the text encoder, as in prompts); an invalid
 * strength stays in the name, which the service then reports as unknown.
 */
function lorasOf(text: string): { name: string; strength?: number; text_strength?: number }[] {
  const entries = text.split(',').map((entry) => entry.trim())
  return entries
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [, name = entry, one, other] = strengths.exec(entry) ?? []
      if (one === undefined) return { name }
      if (other === undefined) return { name, strength: Number(one) }
      return { name, strength: Number(other), text_strength: Number(one) }
    })
}

/** Settings as the fields of the form have them. */
export function settingsText({
  loras,
  finish,
  gate,
  hires,
  timesteps,
  ...settings
}: Partial<ResolvedRequest>): Record<string, string> {
  const texts = Object.entries(settings).map(([name, value]) => [name, String(value)])
  const uses = loras?.map(({ name, strength, text_strength: forText }) => {
    if (forText !== undefined) return `${name}:${forText}:${strength}`
    return strength === 1 ? name : `${name}:${strength}`
  })
  return {
    ...Object.fromEntries(texts),
    ...(uses === undefined ? {} : { loras: uses.join(', ') }),
    ...(timesteps === undefined ? {} : { timesteps: timesteps.join(' ') }),
    ...finishTexts({ ...(finish && { finish }), ...(gate && { gate }) }, ''),
    ...(hires && hiresTexts({ ...settings, hires })),
  }
}

/** The size chosen from the list; width and height, if filled in, override it. */
function sizeOf(size: string): Record<string, unknown> {
  if (size === '') return {}
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(size) ?? []
  return width === undefined ? { width: size } : { width: Number(width), height: Number(height) }
}

/** Longer addresses may be cut or refused on the way; Node accepts at most 16 KiB of request head. */
const longestAddress = 6000

/**
 * The address of the form filled in with the settings of a job: a recipe that can be kept after the job is gone.
 * If the prompt is too long for an address, the address names the job instead.
 */
export function againAddress(
  jobId: string,
  request: ResolvedRequest,
  seed: number | undefined,
  count: number,
  model: Wording = {},
): string {
  const { format, ...settings } = request
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(
    inForm({ ...settings, ...(format === 'png' ? {} : { format }), count }, model),
  )) {
    if (value !== '') query.set(name, value)
  }
  if (seed === undefined) query.delete('seed')
  else query.set('seed', String(seed))
  const address = `/?${query}`
  if (address.length <= longestAddress) return address
  return `/?${new URLSearchParams({ from: jobId, ...(seed === undefined ? {} : { seed: String(seed) }), count: String(count) })}`
}

/** The fields filled in with the settings of a job. */
export function valuesOfRequest(request: ResolvedRequest, model: Wording = {}): FormValues {
  return readFields(inForm(request, model))
}

/** What a request shows and how it is delivered, as fields of the form: for another picture that begins with one of its own. */
export function deliveredAs(request: ResolvedRequest, model: Wording = {}): Record<string, string> {
  const fields = inForm(request, model)
  const names = ['prompt', 'background', 'light', 'view', ...finishFieldNames, 'format', 'quality']
  return Object.fromEntries(names.flatMap((name) => (fields[name] ? [[name, fields[name]]] : [])))
}

/** What the words of the prompt say of background, light and view is chosen in the form, as it was when the request was sent. */
function inForm(settings: Partial<ResolvedRequest>, { controls }: Wording): Record<string, string> {
  const { finish, gate, ...plain } = settings
  const { prompt = '', ...others } = settingsText(plain)
  const choices = fromWords(prompt, controls)
  const { width, height } = plain
  const finished = {
    ...(finish && { finish }),
    ...(gate && { gate }),
    ...(width && { width }),
    ...(height && { height }),
  }
  return { ...choices, ...others, ...finishTexts(finished, choices.background) }
}
