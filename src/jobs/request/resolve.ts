import { randomInt } from 'node:crypto'
import { Value } from 'typebox/value'
import { AppError, type Fault } from '../errors.ts'
import { type Priority, type ResolvedRequest, stepsOf } from '../job.ts'
import { nearest } from '../nearest.ts'
import type { ModelInfo, Offer } from '../offer.ts'
import { cleanText, describeValue, expectation, listed } from '../wording.ts'
import { loraFieldFaults, resolveLoras } from './loras.ts'
import { checkModel, checkVae, givenImages } from './model-rules.ts'
import { resolveSampler } from './sampler-choice.ts'
import { type JobRequest, jobRequestSchema, type RequestLimits } from './schema.ts'

/**
 * Decides every field of a request. Throws `invalid_request` with one sentence for each fault.
 *
 * `seed` is what an absent seed becomes. Whether the uploads are there is for `submitJob` to find out.
 */
export function resolveRequest(
  body: unknown,
  offer: Offer,
  limits: RequestLimits,
  seed: number = randomInt(2 ** 32),
): ResolvedRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalidRequest([
      {
        param: 'body',
        message: `The body must be a JSON object such as {"prompt": "a red apple"}, but was ${describeValue(body)}.`,
      },
    ])
  }
  const given = withCleanTexts(body)
  const faults = [
    ...unknownFields(given, limits),
    ...schemaFaults(given, limits),
    ...promptFaults(given, limits),
  ]
  const broken = new Set(faults.map((fault) => fault.param))
  const blame = (param: string, message: string) => {
    if (!broken.has(param)) faults.push({ param, message })
  }
  const model = findModel(given.model, offer.models)
  if (model === undefined) {
    blame('model', notOffered('model', given.model, offer.models.map(nameOf)))
    throw invalidRequest(faults)
  }
  // a field that is at fault already is as good as absent for the rest
  const request = Object.fromEntries(
    Object.entries(given).filter(([name]) => !broken.has(name)),
  ) as JobRequest
  checkModel(request, model, limits, blame)
  const { sampler, schedule, steps } = resolveSampler(request, model, offer.samplers, blame)
  const { prompt, loras } = resolveLoras(request, model, offer.loras, limits, blame)
  checkVae(request, model, offer, blame)
  const { clip_skip = 1 } = request
  const resolved: ResolvedRequest = {
    prompt,
    negative_prompt: request.negative_prompt ?? '',
    width: request.width ?? model.width,
    height: request.height ?? model.height,
    steps,
    guidance_scale: request.guidance_scale ?? model.guidance_scale,
    sampler,
    schedule,
    seed: request.seed ?? seed,
    count: request.count ?? 1,
    model: model.name,
    format: 'png',
    ...(request.vae === undefined ? {} : { vae: request.vae }),
    ...(loras.length === 0 ? {} : { loras }),
    ...(clip_skip === 1 ? {} : { clip_skip }),
    ...givenImages(request, model, blame),
  }
  if (stepsOf(resolved) < 1) {
    const least = Math.ceil(1000 / resolved.steps) / 1000
    blame(
      'strength',
      `strength must be at least ${least} with ${resolved.steps} steps, or nothing is made anew, but was ${resolved.strength}.`,
    )
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return resolved
}

/** How urgent a request is that `resolveRequest` let pass. Not a part of the picture, hence not of the request. */
export function priorityOf(body: unknown): Priority {
  return (body as JobRequest).priority ?? 'interactive'
}

type Fields = Readonly<Record<string, unknown>>

/** A refused text stays as it came, for `promptFaults` to name its fault. */
function withCleanTexts(body: object): Fields {
  const fields: Record<string, unknown> = { ...body }
  for (const name of ['prompt', 'negative_prompt']) {
    const value = fields[name]
    if (typeof value !== 'string') continue
    const { text } = cleanText(value)
    if (text !== undefined) fields[name] = text
  }
  return fields
}

function unknownFields(given: Fields, limits: RequestLimits): Fault[] {
  const known = Object.keys(jobRequestSchema(limits).properties)
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

function schemaFaults(given: Fields, limits: RequestLimits): Fault[] {
  const { properties, required } = jobRequestSchema(limits)
  return Object.entries(properties).flatMap(([name, schema]) => {
    const value = given[name]
    if (value === undefined) {
      return required.includes(name as 'prompt')
        ? [{ param: name, message: `${name} is missing: it must be ${expectation(schema)}.` }]
        : []
    }
    if (Value.Check(schema, value)) return []
    const entries = name === 'loras' ? loraFieldFaults(value, limits) : []
    if (entries.length > 0) return entries
    return [
      { param: name, message: `${name} must be ${expectation(schema)}, but was ${describeValue(value)}.` },
    ]
  })
}

function promptFaults(given: Fields, limits: RequestLimits): Fault[] {
  return ['prompt', 'negative_prompt'].flatMap((name) => {
    const value = given[name]
    if (typeof value !== 'string') return []
    const { fault } = cleanText(value)
    if (fault !== undefined) return [{ param: name, message: `${name} ${fault}` }]
    const bytes = Buffer.byteLength(value)
    if (bytes <= limits.promptBytes || [...value].length > limits.promptCharacters) return []
    return [
      {
        param: name,
        message: `${name} must have at most ${limits.promptBytes} bytes in UTF-8, but had ${bytes}.`,
      },
    ]
  })
}

function findModel(name: unknown, models: readonly ModelInfo[]): ModelInfo | undefined {
  return name === undefined ? models[0] : models.find((model) => model.name === name)
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
