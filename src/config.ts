import { type Static, type TSchema, Type } from 'typebox'
import { Value } from 'typebox/value'
import { nearest } from './jobs/nearest.ts'

/**
 * Longer than most files: every variable is in this one table.
 *
 * The environment variables, each with its default, limits and meaning: a test compares docs/config.md with it.
 */
export const Environment = Type.Object({
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8080,
    description: 'Port of the page and the API; 0 picks a free one.',
  }),
  PACKSHOT_HOST: Type.String({
    minLength: 1,
    default: '127.0.0.1',
    description:
      'Address to listen on. The default allows this machine only, because there is no login; `0.0.0.0` opens it to the network.',
  }),
  PACKSHOT_DATA_DIR: Type.String({
    minLength: 1,
    default: './data',
    description: 'Folder for jobs and pictures. One running Packshot per folder.',
  }),
  PACKSHOT_MODEL: Type.String({
    minLength: 1,
    default: 'packshot-mini',
    description:
      'The model of a job that names none: a name in the models folder, or the path of a model folder or `.safetensors` file (with a `/` in it).',
  }),
  PACKSHOT_MODELS_DIR: Type.String({
    minLength: 1,
    default: './models',
    description:
      'Folder for models, with `vae/`, `embeddings/` and `loras/` in it; the built-in packshot-mini is offered as well.',
  }),
  PACKSHOT_MODEL_MEMORY_MB: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 16_777_216,
      description:
        'Memory for all loaded models of a worker, in MiB: the least recently used are evicted first, one always stays. When not set, half of the memory of the machine or container.',
    }),
  ),
  PACKSHOT_PROVIDER: Type.String({
    pattern: '^(cpu|webgpu|cuda)( ?, ?(cpu|webgpu|cuda)){0,2}$',
    examples: ['cuda,webgpu,cpu'],
    default: 'cpu',
    description:
      'What the engine computes on: `cpu`, `webgpu` or `cuda`. In a list the first available one is used, and the log says why earlier ones are not; a single one that is unavailable is an error at startup.',
  }),
  PACKSHOT_PROFILE: Type.Enum(['fast', 'dense'], {
    default: 'fast',
    description: 'What the engine optimizes for: `fast` pictures, or `dense` use of memory.',
  }),
  PACKSHOT_THREADS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1024,
      description:
        "Threads that the engine computes with; when not set, one per core that the process may use: CPU affinity and the container's CPU quota count, hyper-threads do not.",
    }),
  ),
  PACKSHOT_LARGE_PAGES: Type.Enum(['on', 'off'], {
    default: 'on',
    description:
      'Whether the engine requests memory in large pages (on Linux with glibc, through `GLIBC_TUNABLES`; a value set there takes precedence).',
  }),
  PACKSHOT_PROMPT_WINDOWS: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 16,
    description:
      'Maximum windows of 75 tokens in a prompt; each needs memory on the worker (about 20 MB at 512x512). The same for all servers and workers.',
  }),
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
    description:
      'Maximum number of waiting jobs; more are refused with `queue_full`. In embedded mode running jobs count too; on RabbitMQ it applies to interactive and batch jobs separately, must be the same for all servers and workers, and is fixed when the queue is created.',
  }),
  PACKSHOT_ATTEMPT_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 86_400,
    default: 1800,
    description: 'Maximum time for one attempt at a job.',
  }),
  PACKSHOT_SHUTDOWN_SECONDS: Type.Integer({
    minimum: 0,
    maximum: 3600,
    default: 10,
    description: 'How long a running job may continue after SIGTERM before it goes back to the queue.',
  }),
  PACKSHOT_QUEUE_URL: Type.Optional(
    Type.String({
      pattern: '^amqps?://.+',
      examples: ['amqp://user:password@host:5672'],
      secret: true,
      description: 'RabbitMQ, for tasks and events; when not set, they are kept in the data folder.',
    }),
  ),
  PACKSHOT_STATUS_URL: Type.Optional(
    Type.String({
      pattern: '^rediss?://.+',
      examples: ['redis://user:password@host:6379'],
      secret: true,
      description:
        'Redis (or Valkey), for statuses and limits; when not set, they are kept in the data folder.',
    }),
  ),
  PACKSHOT_STORAGE_URL: Type.Optional(
    Type.String({
      pattern: '^s3://.+',
      examples: ['s3://bucket/prefix'],
      description:
        'Bucket for the results, with an optional prefix; when not set, they are kept in the data folder. Keys and region come from the standard `AWS_` variables.',
    }),
  ),
  PACKSHOT_S3_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://.+',
      examples: ['http://minio:9000'],
      description: 'S3-compatible server; when not set, Amazon S3.',
    }),
  ),
  PACKSHOT_S3_PUBLIC_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://.+',
      examples: ['https://pictures.example.com'],
      description:
        'URL at which browsers reach the S3 server: pictures are then fetched from there by signed URLs, not through Packshot.',
    }),
  ),
  PACKSHOT_NAMESPACE: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,39}$',
    examples: ['packshot'],
    default: 'packshot',
    description:
      'First part of every queue name and Redis key; installations that share them need different ones.',
  }),
  PACKSHOT_SECRET: Type.Optional(
    Type.String({
      minLength: 32,
      maxLength: 1024,
      secret: true,
      description:
        'Key that signs job ids: at least 32 characters, the same for every server (`openssl rand -hex 32` generates one). When not set, `npm start` keeps one in the data folder.',
    }),
  ),
  PACKSHOT_MESSAGE_KEY: Type.Optional(
    Type.String({
      minLength: 32,
      maxLength: 1024,
      secret: true,
      description:
        'Key that signs the messages in RabbitMQ: at least 32 characters, the same for every server and worker, and not that of `PACKSHOT_SECRET`. When not set, whoever can write to the broker can forge tasks.',
    }),
  ),
  PACKSHOT_START_SECONDS: Type.Integer({
    minimum: 0,
    maximum: 3600,
    default: 30,
    description: 'How long startup waits for RabbitMQ, Redis and S3 before giving up.',
  }),
  PACKSHOT_DRAIN_SECONDS: Type.Integer({
    minimum: 0,
    maximum: 600,
    default: 5,
    description:
      'How long a server of `npm run server` keeps answering after SIGTERM, while its proxy notices that it is not ready.',
  }),
  PACKSHOT_WORKER_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65_535,
      description: "Port of a worker's health endpoints; when not set, it has none.",
    }),
  ),
  PACKSHOT_JOBS_PER_MINUTE: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 120,
    description: 'Maximum jobs and uploads per minute from one caller, refused ones included; 0: no limit.',
  }),
  PACKSHOT_REQUESTS_PER_MINUTE: Type.Integer({
    minimum: 0,
    maximum: 10_000_000,
    default: 6000,
    description:
      'Maximum requests of any kind per minute from one caller, counted by each server; 0: no limit.',
  }),
  PACKSHOT_UNITS_PER_HOUR: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 50_000,
    description:
      'Maximum work per hour of one caller, in units: one unit is one call of the model for one megapixel (a picture of 512x512 with 20 steps and guidance is 10.5); 0: no limit.',
  }),
  PACKSHOT_CALLER_JOBS: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 200,
    description: 'Maximum jobs of one caller that wait or run at the same time; 0: no limit.',
  }),
  PACKSHOT_CALLER_UNITS: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 5000,
    description: 'Maximum work, in units, in the jobs of one caller that wait or run; 0: no limit.',
  }),
  PACKSHOT_IPV6_NETWORK: Type.Integer({
    minimum: 16,
    maximum: 128,
    default: 64,
    description: 'How many leading bits of an IPv6 address identify a caller.',
  }),
  PACKSHOT_CALLER_UPLOADS_MB: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 2048,
    description: 'Maximum MiB of stored uploads of one caller; 0: no limit.',
  }),
  PACKSHOT_CALLER_RESULTS_MB: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 20_480,
    description:
      'Maximum MiB of stored pictures of one caller, counted by the most that they could have; 0: no limit.',
  }),
  PACKSHOT_UPLOADS_MB: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 20_480,
    description: 'Maximum MiB of all stored uploads; 0: no limit.',
  }),
  PACKSHOT_RESULTS_MB: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 0,
    description: 'Maximum MiB of all stored pictures; 0: no limit.',
  }),
  PACKSHOT_FREE_MB: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 100,
    description:
      'MiB that are kept free on the disk of the data folder: with less, nothing new is accepted; 0: accept until it is full.',
  }),
  PACKSHOT_UPLOAD_MB: Type.Integer({
    minimum: 1,
    maximum: 1024,
    default: 10,
    description: 'Maximum size of an uploaded picture, in MiB.',
  }),
  PACKSHOT_UPLOAD_MEGAPIXELS: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 24,
    description: 'Maximum size of an uploaded picture, in millions of pixels.',
  }),
  PACKSHOT_TRUSTED_PROXIES: Type.Optional(
    Type.String({
      pattern: '^[0-9a-fA-F.:/, ]+$',
      examples: ['10.0.0.0/8, 127.0.0.1'],
      description:
        'Addresses of the proxies in front, whose `X-Forwarded-For` is trusted; when not set, none is trusted.',
    }),
  ),
  PACKSHOT_LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Minimum log level (JSON lines on stdout).',
  }),
})

type ProviderName = 'cpu' | 'webgpu' | 'cuda'

type Valid = Static<typeof Environment>

/** `PACKSHOT_QUEUE_MAX` as `queueMax`. */
type SettingName<Variable> = Variable extends `PACKSHOT_${infer Name}`
  ? Camel<Lowercase<Name>>
  : Lowercase<Variable & string>
type Camel<Name extends string> = Name extends `${infer First}_${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name

/** Each variable as a setting, undefined where it is not set. */
type Settings = {
  readonly [Variable in keyof Valid as SettingName<Variable>]-?: undefined extends Valid[Variable]
    ? Valid[Variable] | undefined
    : Valid[Variable]
}

export interface Config
  extends Omit<Settings, 'provider' | 'storageUrl' | 's3Endpoint' | 's3PublicEndpoint'> {
  /** In order of preference, at least one. */
  readonly providers: readonly ProviderName[]
  readonly storage: StorageConfig | undefined
}

interface StorageConfig {
  readonly url: string
  readonly endpoint: string | undefined
  readonly publicEndpoint: string | undefined
  readonly region: string
}

/** Everything wrong with the environment: one sentence for each invalid variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(faults.join('\n'))
    this.faults = faults
  }
}

/** Throws `ConfigError` with every fault at once. Values are unchanged, sizes and paths unchecked. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const schemas: Record<string, TSchema> = Environment.properties
  const values: Record<string, unknown> = {}
  const faults = unknownNames(env, Object.keys(schemas))
  for (const [name, schema] of Object.entries(schemas)) {
    const text = env[name]
    const value = text === undefined ? Value.Default(schema, undefined) : parse(text, schema)
    if (value === undefined && text === undefined) continue
    if (Value.Check(schema, value)) values[name] = value
    else faults.push(`${name} must be ${expectation(schema)}, but was ${shown(schema, text ?? '')}.`)
  }
  for (const name of ['PACKSHOT_S3_ENDPOINT', 'PACKSHOT_S3_PUBLIC_ENDPOINT']) {
    if (env[name] === undefined || env.PACKSHOT_STORAGE_URL !== undefined) continue
    faults.push(`${name} has no effect without PACKSHOT_STORAGE_URL. Set that too, or unset this.`)
  }
  const twice = providersOf(env.PACKSHOT_PROVIDER ?? '').find((name, index, all) => all.indexOf(name) < index)
  if (twice !== undefined) faults.push(`PACKSHOT_PROVIDER names ${shorten(twice)} twice. Name each once.`)
  if (faults.length > 0) throw new ConfigError(faults)
  const settings = Object.fromEntries(
    Object.keys(schemas).map((name) => [settingName(name), values[name]]),
  ) as unknown as Settings
  const { provider, storageUrl, s3Endpoint, s3PublicEndpoint, ...others } = settings
  const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1'
  return {
    ...others,
    providers: providersOf(provider),
    storage:
      storageUrl === undefined
        ? undefined
        : { url: storageUrl, endpoint: s3Endpoint, publicEndpoint: s3PublicEndpoint, region },
  }
}

function settingName(variable: string): string {
  const name = variable.replace(/^PACKSHOT_/, '').toLowerCase()
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
}

/** Throws `ConfigError` unless queue, statuses and storage are services that several processes can share. */
export function requireServices(config: Config, role: 'server' | 'worker'): void {
  const wanted: [string, unknown][] = [
    ['PACKSHOT_QUEUE_URL', config.queueUrl],
    ['PACKSHOT_STATUS_URL', config.statusUrl],
    ['PACKSHOT_STORAGE_URL', config.storage],
  ]
  if (role === 'server') wanted.push(['PACKSHOT_SECRET', config.secret])
  const missing = wanted.filter(([, value]) => value === undefined).map(([name]) => name)
  if (missing.length === 0) return
  throw new ConfigError(
    missing.map((name) => `${name} must be set for \`npm run ${role}\`; \`npm start\` runs without it.`),
  )
}

function providersOf(list: string): ProviderName[] {
  return list.split(',').map((name) => name.trim() as ProviderName)
}

function unknownNames(env: Readonly<Record<string, string | undefined>>, known: readonly string[]): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('PACKSHOT_') && !known.includes(name) && env[name] !== undefined)
    .map((name) => {
      const close = nearest(name, known)
      return `There is no variable ${shorten(name)}. ${close === undefined ? `Known variables: ${known.join(', ')}.` : `Did you mean ${close}?`}`
    })
}

/** Numbers in plain decimal only: `0x10`, `1e3` and an empty value are usually mistakes. */
function parse(text: string, schema: TSchema): unknown {
  if (!('type' in schema) || schema.type !== 'integer') return text
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}

function expectation(schema: TSchema): string {
  const { minimum, maximum, minLength, enum: choices, examples } = schema as Partial<Record<string, unknown>>
  if (Array.isArray(choices)) return `one of ${choices.join(', ')}`
  if (Array.isArray(examples)) return `something like ${examples[0]}`
  if (typeof minLength === 'number' && minLength > 1) return `text of at least ${minLength} characters`
  return minimum === undefined ? 'non-empty text' : `a whole number from ${minimum} to ${maximum}`
}

/** A secret is not repeated: what is printed at startup ends up in logs. */
function shown(schema: TSchema, text: string): string {
  return 'secret' in schema ? `text of ${text.length} characters (not shown)` : JSON.stringify(shorten(text))
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}
