import { randomInt } from 'node:crypto'
import { Value } from 'typebox/value'
import { AppError, type Blame, type Fault } from '../errors.ts'
import {
  defaultQuality,
  type ImageFormat,
  imageFormats,
  type JobRequest,
  jobRequestSchema,
  type Priority,
  type RequestLimits,
} from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import { nearest } from '../nearest.ts'
import { findNamed, type ModelInfo, type Offer } from '../offer.ts'
import { drawnSize, firstSteps } from '../pictures.ts'
import { cleanText, describeValue, expectation, listed } from '../wording.ts'
import { resolveGuidanceEnd } from './few-steps.ts'
import { drawsNothing, finishFieldFaults, resolveFinish, withStrength } from './finish.ts'
import { hiresFieldFaults, resolveLarger } from './larger.ts'
import { loraFieldFaults, resolveLoras } from './loras.ts'
import { checkModel, givenImages, resolveVae } from './model-rules.ts'
import { applyPace } from './pace.ts'
import { resolveSampler } from './sampler-choice.ts'

export interface Resolved {
  readonly request: ResolvedRequest
  /** How urgent it is. Not part of the picture, hence not of the request. */
  readonly priority: Priority
  /** How often its first picture is shown while it is made: not part of the picture either. */
  readonly previews?: number
  /** Where its outcome is wanted, unchecked. */
  readonly webhook?: string
}

/**
 * Decides every field of a request. Throws `invalid_request` with one sentence for each fault.
 *
 * `seed` replaces an absent seed. `submitJob` checks whether the uploads exist.
 */
export function resolveRequest(
  body: unknown,
  offer: Offer,
  limits: RequestLimits,
  seed: number = randomInt(2 ** 32),
): Resolved {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalidRequest([
      {
        param: 'body',
        message: `The body must be a JSON object such as {"prompt": "a red apple"}, but was ${describeValue(body)}.`,
      },
    ])
  }
  const schema = jobRequestSchema(limits)
  const { fields: given, faults: textFaults } = withCleanTexts(body, limits)
  const faults = [...unknownFields(given, schema), ...schemaFaults(given, schema, limits), ...textFaults]
  const broken = new Set(faults.map((fault) => fault.param))
  // a part of a field breaks the whole
  for (const param of broken) if (param.includes('.')) broken.add(param.slice(0, param.indexOf('.')))
  const blame = (param: string, message: string) => {
    if (!broken.has(param)) faults.push({ param, message })
  }
  const model = findModel(given.model, offer.models)
  if (model === undefined) {
    blame('model', modelFault(given.model, offer))
    throw invalidRequest(faults)
  }
  // a field that is already at fault counts as absent for the rest
  const request = withStrength(
    Object.fromEntries(Object.entries(given).filter(([name]) => !broken.has(name))) as JobRequest,
  )
  checkModel(request, model, limits, blame)
  const loraFaults: Parameters<Blame>[] = []
  const named = resolveLoras(request, model, offer.loras, limits, (...fault) => loraFaults.push(fault))
  const { request: paced, loras, pace } = applyPace(request, named.loras, model, offer, limits, blame)
  const sampling = resolveSampler(paced, model, offer.samplers, blame)
  for (const fault of loraFaults) blame(...fault)
  const guidanceScale = paced.guidance_scale ?? model.guidance_scale
  const vae = resolveVae(request, model, offer, blame)
  const { clip_skip = 1 } = request
  const size = { width: request.width ?? model.width, height: request.height ?? model.height }
  const larger = resolveLarger(request, { ...size, steps: sampling.steps }, { model, offer, limits }, blame)
  if (larger.hires && sampling.timesteps && larger.hires.steps !== sampling.steps)
    blame('hires.steps', 'hires.steps must be absent: the timesteps are those of both drawings.')
  const drawn = drawnSize({ ...size, ...larger })
  const { format, ...finishing } = resolveFinish(request, drawn, limits, blame)
  const resolved: ResolvedRequest = {
    prompt: named.prompt,
    negative_prompt: request.negative_prompt ?? '',
    ...size,
    guidance_scale: guidanceScale,
    ...sampling,
    ...resolveGuidanceEnd(request, guidanceScale),
    ...(pace === undefined ? {} : { pace }),
    ...((request.precision ?? limits.precision) === 'exact' ? {} : { precision: 'int8' as const }),
    seed: request.seed ?? seed,
    count: request.count ?? 1,
    model: model.name,
    ...fileOf({ ...request, format: request.format ?? format }, blame),
    ...vae,
    ...(loras.length === 0 ? {} : { loras }),
    ...(clip_skip === 1 ? {} : { clip_skip }),
    ...givenImages(request, model, blame),
    ...finishing,
    ...larger,
  }
  if (firstSteps(resolved) < 1 && !drawsNothing(resolved)) {
    const least = Math.ceil(1000 / resolved.steps) / 1000
    blame(
      'strength',
      `strength must be at least ${least} with ${resolved.steps} steps, or nothing is repainted, but was ${resolved.strength}.`,
    )
  }
  if (faults.length > 0) throw invalidRequest(faults)
  const { priority = 'interactive', previews = 0, webhook } = request
  return {
    request: resolved,
    priority,
    ...(previews === 0 ? {} : { previews }),
    ...(webhook === undefined ? {} : { webhook }),
  }
}

/** The format of the delivered file. PNG has no quality. */
function fileOf(
  {
    format = imageFormats[0],
    quality,
  }: { readonly format: ImageFormat | undefined; readonly quality?: number },
  blame: Blame,
): Pick<ResolvedRequest, 'format' | 'quality'> {
  if (format !== 'png') return { format, quality: quality ?? defaultQuality }
  if (quality !== undefined) blame('quality', 'quality requires format jpeg or webp; a PNG is lossless.')
  return { format }
}

type Fields = Readonly<Record<string, unknown>>

/** The fields with clean prompts, and the faults of those that cannot be cleaned: they stay unchanged. */
function withCleanTexts(body: object, limits: RequestLimits): { fields: Fields; faults: Fault[] } {
  const fields: Record<string, unknown> = { ...body }
  const faults = ['prompt', 'negative_prompt'].flatMap((param) => {
    const value = fields[param]
    if (typeof value !== 'string') return []
    const { text, fault } = cleanText(value)
    if (text === undefined) return [{ param, message: `${param} ${fault}` }]
    fields[param] = text
    const bytes = Buffer.byteLength(text)
    if (bytes <= limits.promptBytes || [...text].length > limits.promptCharacters) return []
    const message = `${param} must have at most ${limits.promptBytes} bytes in UTF-8, but had ${bytes}.`
    return [{ param, message }]
  })
  return { fields, faults }
}

type Schema = ReturnType<typeof jobRequestSchema>

function unknownFields(given: Fields, schema: Schema): Fault[] {
  const known = Object.keys(schema.properties)
  return Object.keys(given)
    .filter((name) => !known.includes(name))
    .slice(0, 10)
    .map((name) => {
      const close = nearest(name, known)
      const hint = close === undefined ? `The fields are ${known.join(', ')}.` : `Did you mean ${close}?`
      return { param: describeName(name), message: `There is no field ${describeName(name)}. ${hint}` }
    })
}

function describeName(name: string): string {
  return /^[\w-]{1,40}$/.test(name) ? name : describeValue(name)
}

function schemaFaults(given: Fields, { properties, required }: Schema, limits: RequestLimits): Fault[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const value = given[name]
    if (value === undefined) {
      return required.includes(name as 'prompt')
        ? [{ param: name, message: `${name} is missing: it must be ${expectation(schema)}.` }]
        : []
    }
    if (Value.Check(schema, value)) return []
    const entries =
      name === 'loras'
        ? loraFieldFaults(value, limits)
        : name === 'finish' || name === 'gate'
          ? finishFieldFaults(name, value)
          : name === 'hires'
            ? hiresFieldFaults(value)
            : []
    if (entries.length > 0) return entries
    return [
      { param: name, message: `${name} must be ${expectation(schema)}, but was ${describeValue(value)}.` },
    ]
  })
}

function findModel(name: unknown, models: readonly ModelInfo[]): ModelInfo | undefined {
  return typeof name === 'string' ? findNamed(models, name) : models[0]
}

function modelFault(name: unknown, { models, unusable = [] }: Offer): string {
  const found = typeof name === 'string' ? findNamed(unusable, name) : undefined
  if (found === undefined) return notOffered('model', name, models.map(nameOf))
  return `The model ${found.name} cannot be used: ${found.problem}.`
}

function nameOf({ name }: { readonly name: string }): string {
  return name
}

function notOffered(name: string, value: unknown, offered: readonly string[]): string {
  return `${name} must be one of ${listed(offered)}, but was ${describeValue(value)}.`
}

/** One error for all faults of a request. */
export function invalidRequest(faults: readonly Fault[]): AppError {
  const message = faults.map((fault) => fault.message).join(' ')
  const param = faults[0]?.param
  return new AppError('invalid_request', message, { faults, ...(param === undefined ? {} : { param }) })
}
