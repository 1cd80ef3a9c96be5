import { randomInt } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { AppError, type Fault } from './errors.ts'
import { type Priority, priorities, type ResolvedRequest, stepsOf } from './job.ts'
import { type LoraLimits, loraFieldFaults, resolveLoras } from './loras.ts'
import { nearest } from './nearest.ts'
import type { ModelInfo, Offer } from './offer.ts'
import { checkModel, checkVae, defaultStrength, givenImages } from './request-model.ts'
import { resolveSampler } from './sampler-choice.ts'
import { cleanText, describeValue, expectation, listed } from './wording.ts'

/** What a request may ask for, whatever the model. */
export interface RequestLimits extends LoraLimits {
  readonly promptCharacters: number
  readonly promptBytes: number
  readonly minSize: number
  readonly maxSize: number
  readonly maxSteps: number
  readonly maxGuidanceScale: number
  readonly maxSeed: number
  readonly maxCount: number
  readonly maxClipSkip: number
}

export const defaultLimits: RequestLimits = {
  promptCharacters: 2000,
  promptBytes: 8192,
  minSize: 64,
  maxSize: 1024,
  maxSteps: 100,
  maxGuidanceScale: 30,
  maxSeed: 2 ** 32 - 1,
  maxCount: 4,
  maxClipSkip: 12,
  maxLoras: 5,
  maxLoraStrength: 2,
}

/** The body of POST /v1/jobs: every field but the prompt has a default, most of them the model's. */
export function jobRequestSchema(limits: RequestLimits) {
  const size = (description: string) =>
    Type.Optional(Type.Integer({ minimum: limits.minSize, maximum: limits.maxSize, description }))
  return Type.Object(
    {
      prompt: Type.String({
        minLength: 1,
        maxLength: limits.promptCharacters,
        description: 'What to show.',
      }),
      negative_prompt: Type.Optional(
        Type.String({ maxLength: limits.promptCharacters, description: 'What to keep out of the picture.' }),
      ),
      width: size('In pixels, a multiple of what the model asks for.'),
      height: size('In pixels, a multiple of what the model asks for.'),
      steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxSteps })),
      guidance_scale: Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: limits.maxGuidanceScale,
          description: 'How closely to follow the prompt; 1 or less turns guidance off.',
        }),
      ),
      sampler: Type.Optional(
        Type.String({
          description: 'A name of GET /v1/samplers, or as other programs call it, such as "DPM++ 2M Karras".',
        }),
      ),
      schedule: Type.Optional(Type.String({ description: 'One that the sampler has.' })),
      seed: Type.Optional(
        Type.Integer({ minimum: 0, maximum: limits.maxSeed, description: 'Absent: a random one is chosen.' }),
      ),
      count: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxCount })),
      model: Type.Optional(Type.String()),
      format: Type.Optional(Type.Literal('png')),
      priority: Type.Optional(
        Type.Enum(priorities, {
          description: 'Batch jobs are made when no interactive job waits. Absent: interactive.',
        }),
      ),
      vae: Type.Optional(Type.String({ description: "Absent: the model's own." })),
      loras: Type.Optional(
        Type.Array(
          Type.Object(
            {
              name: Type.String(),
              strength: Type.Optional(
                Type.Number({ minimum: -limits.maxLoraStrength, maximum: limits.maxLoraStrength }),
              ),
            },
            { additionalProperties: false },
          ),
          {
            maxItems: limits.maxLoras,
            description: 'Strength 1 if absent. <lora:name:0.8> in the prompt says the same.',
          },
        ),
      ),
      clip_skip: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: limits.maxClipSkip,
          description: 'Which layer of the text encoder counts, from the end: 1, the last one, if absent.',
        }),
      ),
      init_image: Type.Optional(
        Type.String({ description: 'The id of an upload (POST /v1/uploads): the picture to start from.' }),
      ),
      strength: Type.Optional(
        Type.Number({
          exclusiveMinimum: 0,
          maximum: 1,
          description: `How much of init_image is made anew; ${defaultStrength} if absent.`,
        }),
      ),
      mask: Type.Optional(
        Type.String({
          description: 'The id of an upload: white is made anew, black stays as in init_image.',
        }),
      ),
    },
    { additionalProperties: false },
  )
}
export type JobRequest = Static<ReturnType<typeof jobRequestSchema>>

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
