import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import type { Blame, Fault } from '../errors.ts'
import type { ImageFormat, JobRequest, RequestLimits } from '../fields.ts'
import {
  defaultFill,
  defaultFinishSide,
  type Finish,
  FinishAsked,
  type FinishPreset,
  finishLimits,
  finishPresets,
  Gate,
  isBackground,
  type Margins,
} from '../finish.ts'
import type { ResolvedRequest } from '../job.ts'
import { nearest } from '../nearest.ts'
import { describeValue, expectation, listed } from '../wording.ts'

/** The fields `finish` and `gate` of a request. */

/** The size that a picture is drawn in. */
interface Size {
  readonly width: number
  readonly height: number
}

export interface ResolvedFinish extends Pick<ResolvedRequest, 'finish' | 'gate'> {
  /** The format of the file, where the request names none. */
  readonly format?: ImageFormat
}

/** Whether a request draws nothing: what is uploaded is only finished. */
export function drawsNothing({ strength, init_image }: Pick<JobRequest, 'strength' | 'init_image'>): boolean {
  return strength === 0 && init_image !== undefined
}

/** The strength of a request that names none. A kept product has a new set: drawn, or that of its finish alone. */
export function withStrength(request: JobRequest): JobRequest {
  const { init_image, strength, keep, finish } = request
  if (init_image === undefined || keep === undefined || strength !== undefined) return request
  const preset = finishPresets[finish?.preset ?? '']
  const background = finish?.background ?? preset?.background ?? 'as_made'
  return { ...request, strength: background === 'as_made' ? 1 : 0 }
}

/** @param drawn the size that the picture is drawn in. Every fault is passed to `blame`. */
export function resolveFinish(
  request: JobRequest,
  drawn: Size,
  limits: RequestLimits,
  blame: Blame,
): ResolvedFinish {
  const { finish: asked, gate } = request
  if (drawsNothing(request)) {
    if (request.keep !== undefined && asked === undefined && request.format === 'jpeg') {
      blame(
        'format',
        'format must be png or webp: a product that is cut out is transparent around it. Leave format out, or name a strength above 0.',
      )
    }
    if (asked === undefined && request.keep === undefined) {
      blame(
        'strength',
        'strength 0 draws nothing, so it requires finish, which says what becomes of init_image, or keep, which cuts the product out.',
      )
    }
    if (gate !== undefined && gate.tries > 1) {
      blame('gate', 'gate requires a strength above 0: with 0 nothing is drawn, so there is no other try.')
    }
  }
  const gated = gate === undefined || gate.tries === 1 ? {} : { gate }
  if (asked === undefined) return gated
  const preset = presetOf(asked.preset, blame)
  const finish = decide(request, asked, preset, drawn)
  checkFinish(request, asked, finish, limits, blame)
  return { finish, ...gated, format: formatOf(finish, preset) }
}

function presetOf(name: string | undefined, blame: Blame): FinishPreset | undefined {
  if (name === undefined) return undefined
  const found = Object.hasOwn(finishPresets, name) ? finishPresets[name] : undefined
  if (found !== undefined) return found
  const names = Object.keys(finishPresets)
  const close = nearest(name, names)
  const hint = close === undefined ? `They are ${listed(names)}.` : `Did you mean ${close}?`
  blame('finish.preset', `There is no finish.preset ${describeValue(name)}. ${hint}`)
  return undefined
}

function decide(
  request: JobRequest,
  asked: FinishAsked,
  preset: FinishPreset | undefined,
  drawn: Size,
): Finish {
  const background = (asked.background ?? preset?.background ?? 'as_made').toLowerCase()
  const asMade = background === 'as_made'
  const fill = asked.fill ?? (asMade && preset?.background !== 'as_made' ? undefined : preset?.fill)
  const filled = fill ?? (asMade ? undefined : defaultFill)
  const max_bytes = asked.max_bytes ?? preset?.max_bytes
  return {
    ...(preset === undefined || asked.preset === undefined ? {} : { preset: asked.preset }),
    background,
    ...(filled === undefined ? {} : { fill: filled }),
    ...sizeOf(asked, preset ?? usualSize(request, drawn)),
    margin: marginsOf(asked.margin ?? preset?.margin ?? 0),
    // the picture has the shadow that it was drawn with
    shadow: asked.shadow ?? (asMade ? 'none' : (preset?.shadow ?? 'none')),
    ...(max_bytes === undefined ? {} : { max_bytes }),
  }
}

/** A kept product has the pixels of its photo, however small its set is drawn. */
function usualSize(request: JobRequest, drawn: Size): Size {
  if (drawsNothing(request)) return square
  if (request.keep === undefined) return drawn
  const scale = defaultFinishSide / Math.max(drawn.width, drawn.height)
  return { width: Math.round(drawn.width * scale), height: Math.round(drawn.height * scale) }
}

const square: Size = { width: defaultFinishSide, height: defaultFinishSide }

/** One side alone keeps the shape. */
function sizeOf({ width, height }: Partial<Size>, usual: Size): Size {
  const within = (side: number) =>
    Math.min(finishLimits.maxSide, Math.max(finishLimits.minSide, Math.round(side)))
  if (width !== undefined && height !== undefined) return { width, height }
  if (width !== undefined) return { width, height: within((width * usual.height) / usual.width) }
  if (height !== undefined) return { width: within((height * usual.width) / usual.height), height }
  return { width: usual.width, height: usual.height }
}

function marginsOf(margin: number | Margins): Margins {
  return typeof margin === 'number' ? { top: margin, right: margin, bottom: margin, left: margin } : margin
}

/** A file that keeps what the finish promises: transparency, or a size. */
function formatOf({ background, max_bytes }: Finish, preset: FinishPreset | undefined): ImageFormat {
  const usual = preset?.format ?? (max_bytes === undefined ? 'png' : 'jpeg')
  if (background !== 'transparent') return usual === 'png' && max_bytes !== undefined ? 'jpeg' : usual
  return max_bytes === undefined ? 'png' : 'webp'
}

function checkFinish(
  { format }: JobRequest,
  asked: FinishAsked,
  { background, width, height, shadow, max_bytes }: Finish,
  { finishPixels }: RequestLimits,
  blame: Blame,
): void {
  if (asked.background !== undefined && !isBackground(asked.background)) {
    blame(
      'finish.background',
      `finish.background must be as_made, transparent, a colour such as #ffffff, or the id of an upload, but was ${describeValue(asked.background)}.`,
    )
  }
  if (width * height > finishPixels) {
    const most = `${Math.round(finishPixels / 1e5) / 10} megapixels`
    blame(
      asked.width === undefined && asked.height !== undefined ? 'finish.height' : 'finish.width',
      `finish.width times finish.height must be at most ${most}, but was ${width} x ${height} (${Math.ceil((width * height) / 1e5) / 10} megapixels).`,
    )
  }
  if (background === 'as_made' && shadow !== 'none') {
    blame(
      'finish.shadow',
      `finish.shadow must be none with finish.background as_made, which has the shadow that was drawn. Name a colour or transparent.`,
    )
  }
  if (background === 'transparent' && format === 'jpeg') {
    blame(
      'format',
      'format must be png or webp with finish.background transparent: a JPEG cannot be transparent. Leave format out, or name a colour.',
    )
  }
  if (max_bytes !== undefined && format === 'png') {
    blame(
      'finish.max_bytes',
      'finish.max_bytes requires format jpeg or webp: a PNG is lossless and cannot be made smaller.',
    )
  }
}

/** What is wrong with the values of `finish` and `gate`, each by the name of its field. */
export function finishFieldFaults(name: 'finish' | 'gate', value: unknown): Fault[] {
  const { properties } = name === 'finish' ? FinishAsked : Gate
  const known: Readonly<Record<string, TSchema>> = properties
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const example = name === 'finish' ? '{"preset": "amazon_main"}' : '{"tries": 3}'
    return [
      {
        param: name,
        message: `${name} must be an object such as ${example}, but was ${describeValue(value)}.`,
      },
    ]
  }
  const given = Object.entries(value)
  const faults = given.slice(0, 20).flatMap(([field, each]): Fault[] => {
    const schema = Object.hasOwn(known, field) ? known[field] : undefined
    if (schema === undefined) {
      const shown = /^[\w-]{1,40}$/.test(field) ? field : describeValue(field)
      const close = nearest(field, Object.keys(known))
      const hint =
        close === undefined ? `Its fields are ${Object.keys(known).join(', ')}.` : `Did you mean ${close}?`
      return [{ param: name, message: `${name} has no field ${shown}. ${hint}` }]
    }
    if (Value.Check(schema, each)) return []
    const param = `${name}.${field}`
    return [
      { param, message: `${param} must be ${expected(field, schema)}, but was ${describeValue(each)}.` },
    ]
  })
  if (name === 'gate' && !('tries' in value)) {
    faults.push({
      param: 'gate.tries',
      message: `gate.tries is missing: it must be ${expectation(Gate.properties.tries)}.`,
    })
  }
  return faults
}

function expected(field: string, schema: TSchema): string {
  if (field === 'preset') return `one of ${listed(Object.keys(finishPresets))}`
  if (field !== 'margin') return expectation(schema)
  const most = finishLimits.maxMargin
  return `a number from 0 to ${most}, or {"top", "right", "bottom", "left"} of such numbers`
}
