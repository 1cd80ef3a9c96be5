import { type Static, type TSchema, Type } from 'typebox'
import { Value } from 'typebox/value'
import { nearest } from './jobs/nearest.ts'

/**
 * The environment variables, each with its default, limits and meaning: docs/config.md is held to this by a test.
 */
export const Environment = Type.Object({
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8080,
    description: 'Port of the page and the API; 0 takes a free one.',
  }),
  PACKSHOT_HOST: Type.String({
    minLength: 1,
    default: '127.0.0.1',
    description:
      'Address to listen on. The default is for this machine alone, because there is no login; `0.0.0.0` opens it to the network.',
  }),
  PACKSHOT_DATA_DIR: Type.String({
    minLength: 1,
    default: './data',
    description: 'Folder of the jobs and pictures. One running Packshot to a folder.',
  }),
  PACKSHOT_MODEL: Type.String({
    minLength: 1,
    default: 'packshot-mini',
    description: 'Name of a model in `models/`, or the path of a model folder (with a `/` in it).',
  }),
  PACKSHOT_PROVIDER: Type.Enum(['cpu'], {
    default: 'cpu',
    description: 'What the engine computes on.',
  }),
  PACKSHOT_THREADS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1024,
      description: 'Threads that the engine computes with; when not set, one for each physical core.',
    }),
  ),
  PACKSHOT_RESULT_TTL_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: 86_400,
    description: 'How long a job and its pictures are kept, from the moment it was accepted.',
  }),
  PACKSHOT_QUEUE_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 1000,
    description: 'Most jobs that wait or are being made; more are refused with `queue_full`.',
  }),
  PACKSHOT_ATTEMPT_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 86_400,
    default: 1800,
    description: 'Longest time that one try at a job may take.',
  }),
  PACKSHOT_SHUTDOWN_SECONDS: Type.Integer({
    minimum: 0,
    maximum: 3600,
    default: 10,
    description: 'How long a job in work may go on after SIGTERM before it goes back to the queue.',
  }),
  PACKSHOT_LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Least severe log lines that are written (JSON lines on stdout).',
  }),
})

/** Variables of the design that this version cannot honour yet: ignoring one would lose jobs somewhere else. */
const notYet = ['PACKSHOT_QUEUE_URL', 'PACKSHOT_STATUS_URL', 'PACKSHOT_STORAGE_URL', 'PACKSHOT_S3_ENDPOINT']

export interface Config {
  readonly port: number
  readonly host: string
  readonly dataDir: string
  readonly model: string
  readonly provider: 'cpu'
  readonly threads: number | undefined
  readonly resultTtlSeconds: number
  readonly queueMax: number
  readonly attemptSeconds: number
  readonly shutdownSeconds: number
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
}

/** All that is wrong with the environment: one sentence for each variable at fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(faults.join('\n'))
    this.faults = faults
  }
}

/** Throws `ConfigError` with every fault at once. Values are as they were, sizes and paths unchecked. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const schemas: Record<string, TSchema> = Environment.properties
  const values: Record<string, unknown> = {}
  const faults = unknownNames(env, Object.keys(schemas))
  for (const [name, schema] of Object.entries(schemas)) {
    const text = env[name]
    const value = text === undefined ? Value.Default(schema, undefined) : parse(text, schema)
    if (value === undefined && text === undefined) continue
    if (Value.Check(schema, value)) values[name] = value
    else
      faults.push(`${name} must be ${expectation(schema)}, but was ${JSON.stringify(shorten(text ?? ''))}.`)
  }
  if (faults.length > 0) throw new ConfigError(faults)
  const valid = values as Static<typeof Environment>
  return {
    port: valid.PORT,
    host: valid.PACKSHOT_HOST,
    dataDir: valid.PACKSHOT_DATA_DIR,
    model: valid.PACKSHOT_MODEL,
    provider: valid.PACKSHOT_PROVIDER,
    threads: valid.PACKSHOT_THREADS,
    resultTtlSeconds: valid.PACKSHOT_RESULT_TTL_SECONDS,
    queueMax: valid.PACKSHOT_QUEUE_MAX,
    attemptSeconds: valid.PACKSHOT_ATTEMPT_SECONDS,
    shutdownSeconds: valid.PACKSHOT_SHUTDOWN_SECONDS,
    logLevel: valid.PACKSHOT_LOG_LEVEL,
  }
}

function unknownNames(env: Readonly<Record<string, string | undefined>>, known: readonly string[]): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('PACKSHOT_') && !known.includes(name) && env[name] !== undefined)
    .map((name) => {
      if (notYet.includes(name)) {
        return `${name} is not supported yet: this version keeps queue, statuses and pictures in PACKSHOT_DATA_DIR. Unset it.`
      }
      const close = nearest(name, known)
      return `There is no variable ${shorten(name)}. ${close === undefined ? `Known are ${known.join(', ')}.` : `Did you mean ${close}?`}`
    })
}

/** Numbers in plain decimal only: `0x10`, `1e3` and an empty value are mistakes more often than meant. */
function parse(text: string, schema: TSchema): unknown {
  if (!('type' in schema) || schema.type !== 'integer') return text
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}

function expectation(schema: TSchema): string {
  const { minimum, maximum, enum: choices } = schema as Partial<Record<string, unknown>>
  if (Array.isArray(choices)) return `one of ${choices.join(', ')}`
  return minimum === undefined ? 'a text that is not empty' : `a whole number from ${minimum} to ${maximum}`
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}
