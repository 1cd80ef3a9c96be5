import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import type { Blame, Fault } from '../errors.ts'
import type { JobRequest, RequestLimits } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import { defaultHires, type Hires, HiresAsked } from '../larger.ts'
import { nearest } from '../nearest.ts'
import { type AddOn, findNamed, type ModelInfo, namesFor, type Offer, whyNot } from '../offer.ts'
import { drawnSize } from '../pictures.ts'
import { describeValue, expectation, listed } from '../wording.ts'

/** The fields `hires`, `upscaler` and `decoder` of a request. */

interface Drawn {
  /** The size that is drawn first. */
  readonly width: number
  readonly height: number
  readonly steps: number
}

/** What a request is checked against. */
interface Bounds {
  readonly model: ModelInfo
  readonly offer: Offer
  readonly limits: RequestLimits
}

/** Every fault is passed to `blame`. */
export function resolveLarger(
  request: JobRequest,
  drawn: Drawn,
  { model, offer, limits }: Bounds,
  blame: Blame,
): Pick<ResolvedRequest, 'hires' | 'upscaler' | 'decoder'> {
  const hires = resolveHires(request, drawn, { model, offer, limits }, blame)
  const upscaler = upscalerOf('upscaler', request.upscaler, offer, blame)
  const scale = upscaler?.enlarges?.scale
  if (scale !== undefined && request.finish === undefined) {
    checkPixels(drawnSize({ ...drawn, ...(hires && { hires }) }), scale, limits, blame)
  }
  return {
    ...(hires && { hires }),
    ...(upscaler && { upscaler: upscaler.name }),
    ...decoderOf(request, model, offer, blame),
  }
}

/** The work of the upscalers that a request names, in units for each picture. */
export function enlargingUnits(request: ResolvedRequest, { upscalers = [] }: Offer): number {
  const { width, height, hires, upscaler } = request
  const units = (name: string | undefined, size: { readonly width: number; readonly height: number }) => {
    const found = name === undefined ? undefined : findNamed(upscalers, name)
    return ((found?.enlarges?.units ?? 0) * size.width * size.height) / 1e6
  }
  return units(hires?.upscaler, { width, height }) + units(upscaler, drawnSize(request))
}

/** The size that a request's pictures are delivered in. */
export function deliveredSize(
  request: ResolvedRequest,
  { upscalers = [] }: Pick<Offer, 'upscalers'>,
): { readonly width: number; readonly height: number } {
  const { finish, upscaler } = request
  if (finish !== undefined) return finish
  const { width, height } = drawnSize(request)
  const scale =
    (upscaler === undefined || request.keep !== undefined
      ? undefined
      : findNamed(upscalers, upscaler)?.enlarges?.scale) ?? 1
  return { width: width * scale, height: height * scale }
}

function resolveHires(
  request: JobRequest,
  drawn: Drawn,
  { model, offer, limits }: Bounds,
  blame: Blame,
): Hires | undefined {
  const { hires: asked, init_image, vae } = request
  if (asked === undefined) return undefined
  const faults: Fault[] = []
  const found: Blame = (param, message) => faults.push({ param, message })
  if (init_image !== undefined) {
    found('hires', 'hires requires that init_image is absent: ask for the photo at the larger size instead.')
  } else if (!model.image_to_image && vae === undefined) {
    found(
      'hires',
      `hires must be absent: the VAE of the model ${model.name} cannot read pictures (it has no encoder).`,
    )
  }
  const size = sizeOf(asked, drawn, model, limits, found)
  const upscaler = upscalerOf('hires.upscaler', asked.upscaler, offer, found)
  const { steps = drawn.steps, strength = defaultHires.strength } = asked
  if (Math.floor(steps * strength) < 1) {
    const least = Math.ceil(1000 / steps) / 1000
    found(
      'hires.strength',
      `hires.strength must be at least ${least} with ${steps} steps, or nothing is repainted, but was ${strength}.`,
    )
  }
  for (const { param, message } of faults) blame(param, message)
  return { ...size, steps, strength, ...(upscaler && { upscaler: upscaler.name }) }
}

/** Sides that the model can draw: to the nearest multiple, with `scale`; `width` and `height` are taken as they are. */
function sizeOf(
  asked: HiresAsked,
  drawn: Drawn,
  { name, size_multiple: multiple }: ModelInfo,
  { maxSize }: RequestLimits,
  blame: Blame,
): Pick<Hires, 'width' | 'height'> {
  const most = Math.floor(maxSize / multiple) * multiple
  const { scale: wanted, width, height } = asked
  if (width !== undefined || height !== undefined) {
    if (wanted !== undefined)
      blame('hires.scale', 'hires.scale and hires.width with hires.height say the same: leave one out.')
    for (const side of ['width', 'height'] as const) {
      const value = asked[side]
      const fits = value !== undefined && value % multiple === 0 && value >= drawn[side] && value <= most
      if (fits) continue
      blame(
        `hires.${side}`,
        `hires.${side} must be a multiple of ${multiple} for the model ${name}, from the ${side} ${drawn[side]} to ${most}, but was ${value ?? 'missing'}.`,
      )
    }
    return { width: width ?? drawn.width, height: height ?? drawn.height }
  }
  const longer = Math.max(drawn.width, drawn.height)
  const scale = wanted ?? Math.min(defaultHires.scale, most / longer)
  const side = (length: number) => Math.max(length, Math.round((length * scale) / multiple) * multiple)
  const size = { width: side(drawn.width), height: side(drawn.height) }
  if (Math.max(size.width, size.height) > most) {
    const fits = Math.floor((100 * most) / longer) / 100
    blame(
      'hires.scale',
      `hires.scale must be at most ${fits} for ${drawn.width} x ${drawn.height}: pictures are drawn with at most ${most} pixels on a side, and ${scale} makes ${size.width} x ${size.height}. Draw smaller first, or use upscaler.`,
    )
  }
  return size
}

function upscalerOf(
  param: string,
  name: string | undefined,
  { upscalers = [] }: Offer,
  blame: Blame,
): AddOn | undefined {
  if (name === undefined) return undefined
  const usable = upscalers.filter(({ problem }) => problem === undefined)
  const found = findNamed(usable, name) ?? findNamed(upscalers, name)
  if (found?.problem !== undefined)
    blame(param, `The upscaler ${found.name} cannot be used: ${found.problem}.`)
  else if (found !== undefined) return found
  else if (usable.length === 0) blame(param, `${param} must be absent: no upscaler is installed.`)
  else
    blame(
      param,
      `${param} must be one of ${listed(usable.map((each) => each.name))}, but was ${describeValue(name)}.`,
    )
  return undefined
}

function checkPixels(
  { width, height }: Pick<Hires, 'width' | 'height'>,
  scale: number,
  { finishPixels }: RequestLimits,
  blame: Blame,
): void {
  const pixels = width * height * scale ** 2
  if (pixels <= finishPixels) return
  const inMega = (count: number) => `${Math.round(count / 1e5) / 10} megapixels`
  blame(
    'upscaler',
    `upscaler makes ${width} x ${height} ${scale} times as large, which is ${inMega(pixels)}; at most ${inMega(finishPixels)} are delivered. Draw smaller, choose an upscaler with a lower scale, or name a size with finish.`,
  )
}

const full = 'full'
const tiny = 'tiny'

/** The name of the tiny VAE: `tiny` is the first that fits, unless one has that name. */
function decoderOf(
  { decoder }: JobRequest,
  model: ModelInfo,
  { tiny_vaes: all = [] }: Offer,
  blame: Blame,
): Pick<ResolvedRequest, 'decoder'> {
  if (decoder === undefined || decoder === full) return {}
  const fitting = namesFor(model, all)
  const named = findNamed(all, decoder)
  const reason = named && whyNot(named, model)
  if (named !== undefined && reason === undefined) return { decoder: named.name }
  if (named !== undefined) blame('decoder', `The tiny VAE ${named.name} ${reason}.`)
  else if (decoder === tiny && fitting[0] !== undefined) return { decoder: fitting[0] }
  else if (fitting.length === 0) {
    blame(
      'decoder',
      `decoder must be ${full} or absent: no tiny VAE (TAESD) that fits the model ${model.name} is installed.`,
    )
  } else {
    blame(
      'decoder',
      `decoder must be one of ${listed([full, tiny, ...fitting])}, but was ${describeValue(decoder)}.`,
    )
  }
  return {}
}

/** What is wrong with the values of `hires`, each by the name of its field. */
export function hiresFieldFaults(value: unknown): Fault[] {
  const known: Readonly<Record<string, TSchema>> = HiresAsked.properties
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const message = `hires must be an object such as {"scale": 2}, but was ${describeValue(value)}.`
    return [{ param: 'hires', message }]
  }
  return Object.entries(value)
    .slice(0, 20)
    .flatMap(([field, each]): Fault[] => {
      const schema = Object.hasOwn(known, field) ? known[field] : undefined
      if (schema === undefined) {
        const shown = /^[\w-]{1,40}$/.test(field) ? field : describeValue(field)
        const close = nearest(field, Object.keys(known))
        const hint =
          close === undefined ? `Its fields are ${Object.keys(known).join(', ')}.` : `Did you mean ${close}?`
        return [{ param: 'hires', message: `hires has no field ${shown}. ${hint}` }]
      }
      if (Value.Check(schema, each)) return []
      const param = `hires.${field}`
      return [{ param, message: `${param} must be ${expectation(schema)}, but was ${describeValue(each)}.` }]
    })
}
