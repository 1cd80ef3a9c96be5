import { randomInt } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { AppError, type Fault } from './errors.ts'
import { type Priority, priorities, type ResolvedRequest } from './job.ts'
import { nearest } from './nearest.ts'
import type { ModelInfo } from './ports.ts'
import { cleanText, describeValue, expectation } from './wording.ts'

/** What a request may ask for, whatever the model. */
export interface RequestLimits {
  readonly promptCharacters: number
  readonly promptBytes: number
  readonly minSize: number
  readonly maxSize: number
  readonly maxSteps: number
  readonly maxGuidanceScale: number
  readonly maxSeed: number
  readonly maxCount: number
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
      sampler: Type.Optional(Type.String()),
      schedule: Type.Optional(Type.String()),
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
    },
    { additionalProperties: false },
  )
}
type JobRequest = Static<ReturnType<typeof jobRequestSchema>>

/**
 * Decides every field of a request. Throws `invalid_request` with one sentence for each fault.
 *
 * `models` is what this installation offers, the default first. `seed` is what an absent seed becomes.
 */
export function resolveRequest(
  body: unknown,
  models: readonly ModelInfo[],
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
  const model = findModel(given.model, models)
  if (model === undefined) {
    if (!broken.has('model'))
      faults.push(
        notOffered(
          'model',
          given.model,
          models.map((each) => each.name),
        ),
      )
    throw invalidRequest(faults)
  }
  faults.push(...modelFaults(given, model, limits).filter((fault) => !broken.has(fault.param)))
  if (faults.length > 0) throw invalidRequest(faults)

  const request = given as JobRequest
  return {
    prompt: request.prompt,
    negative_prompt: request.negative_prompt ?? '',
    width: request.width ?? model.width,
    height: request.height ?? model.height,
    steps: request.steps ?? model.steps,
    guidance_scale: request.guidance_scale ?? model.guidance_scale,
    sampler: request.sampler ?? model.samplers[0] ?? '',
    schedule: request.schedule ?? model.schedules[0] ?? '',
    seed: request.seed ?? seed,
    count: request.count ?? 1,
    model: model.name,
    format: 'png',
  }
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

function modelFaults(given: Fields, model: ModelInfo, limits: RequestLimits): Fault[] {
  const sizes = (['width', 'height'] as const).flatMap((name) => {
    const value = given[name]
    if (typeof value !== 'number' || value % model.size_multiple === 0) return []
    const below = Math.floor(value / model.size_multiple) * model.size_multiple
    const close = [below, below + model.size_multiple].filter(
      (size) => size >= limits.minSize && size <= limits.maxSize,
    )
    const rule = `a multiple of ${model.size_multiple} for the model ${model.name}`
    return [
      {
        param: name,
        message: `${name} must be ${rule}, but was ${value}; close by: ${close.join(' and ')}.`,
      },
    ]
  })
  const lists = [
    ['sampler', model.samplers],
    ['schedule', model.schedules],
  ] as const
  const choices = lists.flatMap(([name, offered]) => {
    const value = given[name]
    return value === undefined || offered.some((each) => each === value)
      ? []
      : [notOffered(name, value, offered)]
  })
  return [...sizes, ...choices]
}

function notOffered(name: string, value: unknown, offered: readonly string[]): Fault {
  return {
    param: name,
    message: `${name} must be one of ${offered.join(', ')}, but was ${describeValue(value)}.`,
  }
}

function invalidRequest(faults: readonly Fault[]): AppError {
  const message = faults.map((fault) => fault.message).join(' ')
  const param = faults[0]?.param
  return new AppError('invalid_request', message, { faults, ...(param === undefined ? {} : { param }) })
}
