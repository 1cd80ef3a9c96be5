import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { type Static, type TSchema, Type } from 'typebox'
import { Value } from 'typebox/value'
import { nearest } from './jobs/nearest.ts'
import { type TracingSettings, tracingSettings } from './jobs/tracing-settings.ts'
import { parseWebhookHost } from './jobs/webhook-address.ts'

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
      'Address to listen on. The default allows this machine only; another address needs `PACKSHOT_KEYS_FILE` or `PACKSHOT_OPEN`. `0.0.0.0` is every address of this machine.',
  }),
  PACKSHOT_KEYS_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      examples: ['/etc/packshot/keys.json'],
      description:
        'File with the hashed keys of callers, written by `npm run keys`, the same for every server: every call then needs a key. It is read again within seconds when it changes. When not set, callers need no key and are told apart by their address.',
    }),
  ),
  PACKSHOT_OPEN: Type.Enum(['0', '1'], {
    default: '0',
    description:
      '`1`: listening on an address that the network reaches, without keys, is intended: everybody who reaches it may use everything, within the limits of an address.',
  }),
  PACKSHOT_PAGE: Type.Optional(
    Type.Enum(['open', 'sign-in', 'off'], {
      description:
        'The page: `open` to everybody (with keys, then also calls without a key are served), behind a `sign-in` with a key, or `off`. When not set, `sign-in` with `PACKSHOT_KEYS_FILE`, else `open`.',
    }),
  ),
  PACKSHOT_FAILED_KEYS_PER_MINUTE: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 30,
    description:
      'Maximum requests per minute from one address with a key that is not valid, counted by each server; more are answered 429 and not logged; 0: no limit.',
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
  PACKSHOT_MATTE: Type.String({
    minLength: 1,
    default: 'packshot-matte',
    description:
      'The network that finds the product in a picture, on workers: the built-in one, a name in `matte/` of the models folder, or the path of an `.onnx` file (with a `/` in it).',
  }),
  PACKSHOT_MODELS_DIR: Type.String({
    minLength: 1,
    default: './models',
    description:
      'Folder for models, with `vae/`, `embeddings/`, `loras/`, `upscalers/`, `tiny_vae/` and `matte/` in it; the built-in packshot-mini is offered as well.',
  }),
  PACKSHOT_MODEL_MEMORY_MB: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 16_777_216,
      description:
        'Memory for the networks of a worker, in MiB, weights and activations: the least recently used are evicted first, and a picture that needs more than all of it fails with `too_large`. When not set, two thirds of the memory of the machine or container.',
    }),
  ),
  PACKSHOT_PROVIDER: Type.String({
    pattern: '^(cpu|webgpu|cuda)( ?, ?(cpu|webgpu|cuda)){0,2}$',
    examples: ['cuda,webgpu,cpu'],
    default: 'cpu',
    description:
      'What the engine computes on: `cpu`, `webgpu` or `cuda`. In a list the first available one is used, and the log says why earlier ones are not; a single one that is unavailable is an error at startup.',
  }),
  PACKSHOT_PROFILE: Type.Enum(['auto', 'fast', 'packed', 'dense'], {
    default: 'auto',
    description:
      'How the engine holds weights on a CPU: `fast` in memory of its own, `packed` in files that load in a second or two and compute as fast, `dense` in the files of the `weights` folder, for little memory and disk (docs/performance.md). `auto` decides by the size of each model and what memory and disk there is; the log says what was chosen and why.',
  }),
  PACKSHOT_PRECISION: Type.Enum(['exact', 'int8'], {
    default: 'exact',
    description:
      'What a request that names no `precision` gets: `exact`, or `int8`, which is faster on many processors and makes other pictures. The same for all servers.',
  }),
  PACKSHOT_THREADS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1024,
      description:
        "Threads that the engine computes with; when not set, one per core that the process may use: CPU affinity and the container's CPU quota count, hyper-threads do not.",
    }),
  ),
  PACKSHOT_BATCH: Type.String({
    pattern: '^(auto|[1-9]|1[0-6])$',
    examples: ['4'],
    default: 'auto',
    description:
      'How many pictures of one model and size the engine draws at the same time, 1 to 16: those of one job, and of jobs that wait. `auto` is 1 on a CPU, which gains little from it, and 4 on a GPU.',
  }),
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
  PACKSHOT_FINISH_PIXELS: Type.Integer({
    minimum: 4096,
    maximum: 16_777_216,
    default: 16_777_216,
    description:
      'Maximum width times height of a finished picture (`finish`); each pixel needs about 30 bytes on the worker meanwhile. The same for all servers.',
  }),
  PACKSHOT_PICTURE_SETTINGS: Type.Enum(['on', 'off'], {
    default: 'on',
    description:
      'Whether pictures carry the prompt and the settings that made them (PNG text, EXIF UserComment), for everybody who gets the file.',
  }),
  PACKSHOT_RESULT_TTL_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: 86_400,
    description: 'How long a job and its pictures are kept, from the moment it was accepted.',
  }),
  PACKSHOT_WORKSPACE_JOBS: Type.Integer({
    minimum: 1,
    maximum: 5000,
    default: 300,
    description:
      'Maximum jobs that the page lists for one person; a newer one takes the place of the oldest.',
  }),
  PACKSHOT_WORKSPACE_LOOKS: Type.Integer({
    minimum: 1,
    maximum: 500,
    default: 40,
    description: 'Maximum saved looks of one person; a newer one takes the place of the oldest.',
  }),
  PACKSHOT_WORKSPACE_DAYS: Type.Integer({
    minimum: 1,
    maximum: 400,
    default: 90,
    description:
      'How long the page remembers what somebody made, after the pictures are gone and since the last visit.',
  }),
  PACKSHOT_KEPT_PICTURES: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 200,
    description:
      'Maximum pictures that one caller with a key keeps for good, beyond `PACKSHOT_RESULT_TTL_SECONDS`; without keys only somebody at the machine itself does. 0: nothing more is kept, and what is there stays.',
  }),
  PACKSHOT_THUMBNAILS_AT_ONCE: Type.Integer({
    minimum: 0,
    maximum: 64,
    default: 2,
    description:
      'How many pictures a server makes small at the same time, for its page; each needs the size of its file and about 10 MB meanwhile. 0: the page shows pictures as they are.',
  }),
  PACKSHOT_CATALOGUE_TTL_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: 604_800,
    description: 'How long a catalogue run and its pictures are kept, from the moment it was accepted.',
  }),
  PACKSHOT_CATALOGUE_ROWS: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 50_000,
    description: 'Maximum rows of a catalogue run.',
  }),
  PACKSHOT_CATALOGUE_PICTURES: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 100_000,
    description: 'Maximum pictures of a catalogue run: its rows times its variants.',
  }),
  PACKSHOT_CATALOGUE_MB: Type.Integer({
    minimum: 1,
    maximum: 256,
    default: 16,
    description: 'Maximum size of the body that requests a catalogue run, in MiB.',
  }),
  PACKSHOT_CATALOGUE_RUNS: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 10,
    description: 'Maximum unfinished catalogue runs of one caller.',
  }),
  PACKSHOT_QUEUE_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 1000,
    description:
      'Maximum number of waiting jobs; more are refused with `queue_full`. In embedded mode running jobs count too; on RabbitMQ it applies to interactive and batch jobs separately, must be the same for all servers and workers, and is fixed when the queues are created.',
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
      secret: true,
      description:
        'Bucket for the results, with an optional prefix; when not set, they are kept in the data folder. Keys and region come from the standard `AWS_` variables.',
    }),
  ),
  PACKSHOT_S3_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://.+',
      examples: ['http://minio:9000'],
      secret: true,
      description: 'S3-compatible server; when not set, Amazon S3.',
    }),
  ),
  PACKSHOT_S3_PUBLIC_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://.+',
      examples: ['https://pictures.example.com'],
      secret: true,
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
        'Key that signs job ids: at least 32 characters, the same for every server (`openssl rand -hex 32` generates one). To change it, list the new one and the old one with a comma between: the first signs, all are accepted. When not set, `npm start` keeps one in the data folder.',
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
  PACKSHOT_METRICS_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65_535,
      examples: [9464],
      description:
        'Port of the metrics (`GET /metrics`, for Prometheus) of a server or worker, never that of the page; 0 picks a free one. With `npm start` it has those of the worker too. When not set, nothing is measured.',
    }),
  ),
  PACKSHOT_METRICS_HOST: Type.String({
    minLength: 1,
    default: '127.0.0.1',
    description:
      'Address on which the metrics are answered, to everybody who reaches it: in a container `0.0.0.0`, where no stranger does.',
  }),
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
  PACKSHOT_UPLOAD_KEPT_MEGAPIXELS: Type.Integer({
    minimum: 1,
    maximum: 64,
    default: 9,
    description:
      'What is kept of an uploaded picture, in millions of pixels: a larger one is scaled down. A product that is kept is delivered at this size.',
  }),
  PACKSHOT_UPLOAD_SIDE: Type.Integer({
    minimum: 64,
    maximum: 65_535,
    default: 16_384,
    description:
      'Maximum width and height of an uploaded picture, in pixels; the longer side may also have at most eight times the shorter one.',
  }),
  PACKSHOT_HOLD_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 3600,
    default: 270,
    description:
      'How long a call of another API (docs/dialects.md) that waits for its pictures is held open; then it is answered 504 and the job continues. Clients built on Node give up after 300 seconds.',
  }),
  PACKSHOT_WEBHOOKS: Type.Enum(['on', 'off'], {
    default: 'on',
    description: 'Whether jobs may name a receiver that is told when they are final.',
  }),
  PACKSHOT_WEBHOOK_HOSTS: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9*._:\\[\\], -]+$',
      examples: ['hooks.lan, 10.0.0.7:8080'],
      description:
        'Receivers of webhooks that need not be on the public internet, as names or addresses, with a port or for all ports: only these may use http, other ports than 443 and 8443, and private addresses.',
    }),
  ),
  PACKSHOT_WEBHOOKS_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 10_000,
    description:
      'Maximum webhooks that wait for their first try; more wait with the events of their jobs. On RabbitMQ it must be the same for all servers and workers, and is fixed when the queue is created.',
  }),
  PACKSHOT_TRUSTED_PROXIES: Type.Optional(
    Type.String({
      pattern: '^[0-9a-fA-F.:/, ]+$',
      examples: ['10.0.0.0/8, 127.0.0.1'],
      description:
        'Addresses of the proxies in front, whose `X-Forwarded-` headers (`For`, `Host`, `Proto`, `Prefix`) are trusted; when not set, none is trusted.',
    }),
  ),
  PACKSHOT_ALLOWED_HOSTS: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9*._:\\[\\], -]+$',
      examples: ['studio.example.com, *.lan'],
      description:
        'Names under which browsers and programs reach the server, beside `localhost` and addresses; requests for others are refused. When not set, also the names that trusted proxies pass on.',
    }),
  ),
  PACKSHOT_IDLE_SECONDS: Type.Integer({
    minimum: 1,
    maximum: 3600,
    default: 30,
    description:
      'How long a client may send nothing of its request, or read nothing of its answer, before the connection is closed.',
  }),
  PACKSHOT_MIN_KIB_PER_SECOND: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 8,
    description:
      'Minimum average rate, in KiB per second, at which a client must send a body or read an answer, after `PACKSHOT_IDLE_SECONDS`. There is no other time limit for a transfer: a larger one may take longer.',
  }),
  PACKSHOT_BUFFER_MB: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 256,
    description:
      'Memory of a server for bodies that are still coming and answers that are still unread, in MiB: beyond it the oldest of them is ended. Never less than three times `PACKSHOT_UPLOAD_MB`.',
  }),
  PACKSHOT_CONNECTIONS: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 2048,
    description: 'Maximum open connections of a server; more are answered 503 and closed.',
  }),
  PACKSHOT_CLIENT_CONNECTIONS: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 512,
    description:
      'Maximum open connections from one address that is not a trusted proxy; more are answered 503 and closed.',
  }),
  PACKSHOT_EVENT_STREAMS: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 1000,
    description:
      'Maximum open event streams of a server; more are answered 503. Each is also one of `PACKSHOT_CONNECTIONS`: leave some of those for other requests.',
  }),
  PACKSHOT_CALLER_EVENT_STREAMS: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 500,
    description: 'Maximum open event streams of one caller on one server; more are answered 429.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      minLength: 1,
      examples: ['http://collector:4318'],
      description:
        'OpenTelemetry collector that traces are sent to, by OTLP over HTTP; other standard `OTEL_` variables count too: docs/tracing.md. When not set, there are no traces.',
    }),
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Type.Optional(
    Type.String({
      minLength: 1,
      examples: ['http://collector:4318/v1/traces'],
      description: 'The same for traces alone, with the path; it takes precedence.',
    }),
  ),
  SENTRY_DSN: Type.Optional(
    Type.String({
      pattern: '^https?://\\w+(:\\w*)?@[^/@?#\\s]+/([^?#\\s]*/)?\\d+$',
      examples: ['https://key@glitchtip.example.com/1'],
      secret: true,
      description:
        'Project of Sentry or GlitchTip that faults are reported to, without prompts and keys: docs/tracing.md. When not set, nothing is reported.',
    }),
  ),
  SENTRY_ENVIRONMENT: Type.Optional(
    Type.String({
      pattern: '^[^\\s/]{1,64}$',
      examples: ['production'],
      description: 'The environment that reports name; when not set, `production`.',
    }),
  ),
  SENTRY_RELEASE: Type.Optional(
    Type.String({
      pattern: '^\\S{1,200}$',
      examples: ['packshot@1.2.3'],
      description: 'The release that reports name; when not set, `packshot@` and the version.',
    }),
  ),
  PACKSHOT_REPORTS_PER_MINUTE: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 20,
    description:
      'Maximum reports per minute of one process to `SENTRY_DSN`; of one kind there is one a minute.',
  }),
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
  : Camel<Lowercase<Variable & string>>
type Camel<Name extends string> = Name extends `${infer First}_${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name

/** Each variable as a setting, undefined where it is not set. */
type Settings = {
  readonly [Variable in keyof Valid as SettingName<Variable>]-?: undefined extends Valid[Variable]
    ? Valid[Variable] | undefined
    : Valid[Variable]
}

type Composed =
  | 'provider'
  | 'secret'
  | 'storageUrl'
  | 's3Endpoint'
  | 's3PublicEndpoint'
  | 'otelExporterOtlpEndpoint'
  | 'otelExporterOtlpTracesEndpoint'

export interface Config extends Omit<Settings, Composed> {
  /** The first signs, all are accepted; undefined where none is set. */
  readonly secrets: readonly string[] | undefined
  /** In order of preference, at least one. */
  readonly providers: readonly ProviderName[]
  readonly storage: StorageConfig | undefined
  /** Undefined: no traces. */
  readonly tracing: TracingSettings | undefined
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

/**
 * Throws `ConfigError` with every fault at once. Values are unchanged, sizes and paths unchecked. An empty value counts
 * as not set: `${NAME:-}` in a compose file writes it. `NAME_FILE` in place of a secret NAME is read here.
 */
export function loadConfig(surroundings: Readonly<Record<string, string | undefined>>): Config {
  const schemas: Record<string, TSchema> = Environment.properties
  const { env, faults } = withSecretFiles(ownVariables(surroundings))
  const values: Record<string, unknown> = {}
  faults.unshift(...unknownNames(env, Object.keys(schemas)))
  for (const [name, schema] of Object.entries(schemas)) {
    const text = env[name]
    const value = text === undefined ? Value.Default(schema, undefined) : parse(text, schema)
    if (value === undefined && text === undefined) continue
    const fault = text === undefined ? undefined : checks[name]?.(text)
    if (!Value.Check(schema, value)) {
      faults.push(`${name} must be ${expectation(schema)}, but was ${shown(schema, text ?? '')}.`)
    } else if (fault !== undefined) faults.push(`${name} ${fault}`)
    else values[name] = value
  }
  for (const name of ['PACKSHOT_S3_ENDPOINT', 'PACKSHOT_S3_PUBLIC_ENDPOINT']) {
    const storage = env.PACKSHOT_STORAGE_URL ?? env.PACKSHOT_STORAGE_URL_FILE
    if (env[name] === undefined || storage !== undefined) continue
    faults.push(`${name} has no effect without PACKSHOT_STORAGE_URL. Set that too, or unset this.`)
  }
  if (env.PACKSHOT_STORAGE_URL !== undefined) faults.push(...storageFaults(env))
  const twice = providersOf(env.PACKSHOT_PROVIDER ?? '').find((name, index, all) => all.indexOf(name) < index)
  if (twice !== undefined) faults.push(`PACKSHOT_PROVIDER names ${shorten(twice)} twice. Name each once.`)
  const tracing = tracingSettings(env)
  faults.push(...tracing.faults)
  if (faults.length > 0) throw new ConfigError(faults)
  const settings = Object.fromEntries(
    Object.keys(schemas).map((name) => [settingName(name), values[name]]),
  ) as unknown as Settings
  const { provider, secret, storageUrl, s3Endpoint, s3PublicEndpoint, ...plain } = settings
  const { otelExporterOtlpEndpoint: _shared, otelExporterOtlpTracesEndpoint: _own, ...others } = plain
  const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1'
  const endpoint = s3Endpoint ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL
  return {
    ...others,
    providers: providersOf(provider),
    tracing: tracing.settings,
    secrets: secret === undefined ? undefined : secretsOf(secret),
    storage:
      storageUrl === undefined
        ? undefined
        : { url: storageUrl, endpoint, publicEndpoint: s3PublicEndpoint, region },
  }
}

/**
 * Kubernetes and Docker write variables for every service whose name begins with "packshot", whatever program reads
 * them: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables and Docker's links.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/^PACKSHOT(_\w+)?(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_ENV_\w+)$/.test(name)) return true
  if (/^PACKSHOT(_\w+)?_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/.test(name)) return true
  if (/^PACKSHOT(_\w+)?_PORT$/.test(name)) return /^(tcp|udp|sctp):\/\//.test(value)
  return /^PACKSHOT(_\w+)?_NAME$/.test(name) && /^\/[^/]+\/[^/]+$/.test(value)
}

function ownVariables(surroundings: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(surroundings).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && entry[1] !== '' && !isServiceLink(entry[0], entry[1]),
    ),
  )
}

/** Secrets that the library of the storage reads from the environment itself. */
const storageSecrets = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']

/** The variables that may be given as the path of a file, in NAME_FILE. */
function secretNames(): string[] {
  const settings = Object.entries(Environment.properties).filter(([, schema]) => 'secret' in schema)
  return [...settings.map(([name]) => name), ...storageSecrets]
}

/** The first line of each NAME_FILE as NAME; a file that gave nothing leaves its NAME_FILE and a fault. */
function withSecretFiles(given: Record<string, string>): { env: Record<string, string>; faults: string[] } {
  const env = { ...given }
  const faults: string[] = []
  for (const name of secretNames()) {
    const path = given[`${name}_FILE`]
    if (path === undefined) continue
    const read =
      given[name] === undefined ? readSecret(path) : { fault: `and ${name} are both set. Unset one.` }
    if ('fault' in read) {
      faults.push(`${name}_FILE ${read.fault}`)
      continue
    }
    env[name] = read.secret
    delete env[`${name}_FILE`]
  }
  return { env, faults }
}

function readSecret(path: string): { secret: string } | { fault: string } {
  const file = `names ${JSON.stringify(path)}, which`
  let text: string
  try {
    text = readFileSync(path, 'utf8').replace(/(\r?\n)+$/, '')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = { ENOENT: 'does not exist', EACCES: 'this user may not read', EISDIR: 'is a folder' }[
      code ?? ''
    ]
    return { fault: `${file} ${why ?? `cannot be read (${code})`}.` }
  }
  if (text.trim() === '') return { fault: `${file} is empty.` }
  return /[\r\n\0]/.test(text) ? { fault: `${file} has more than one line.` } : { secret: text }
}

/**
 * Sets the secrets that the library of the storage reads from the environment itself to what their files hold. What
 * cannot be read stays for `loadConfig` to report.
 */
export function readStorageSecrets(env: Record<string, string | undefined>): void {
  for (const name of storageSecrets) {
    const path = env[`${name}_FILE`]
    if (path === undefined || path === '' || (env[name] ?? '') !== '') continue
    const read = readSecret(path)
    if ('fault' in read) continue
    env[name] = read.secret
    delete env[`${name}_FILE`]
  }
}

/** What a pattern cannot say: the rest of the sentence about a wrong value. */
const checks: Readonly<Record<string, (text: string) => string | undefined>> = {
  PACKSHOT_QUEUE_URL: urlFault,
  PACKSHOT_STATUS_URL: urlFault,
  PACKSHOT_STORAGE_URL: urlFault,
  PACKSHOT_S3_ENDPOINT: endpointFault,
  PACKSHOT_S3_PUBLIC_ENDPOINT: endpointFault,
  PACKSHOT_SECRET: secretFault,
  PACKSHOT_TRUSTED_PROXIES: proxiesFault,
  PACKSHOT_WEBHOOK_HOSTS: webhookHostsFault,
}

/** A password that is not encoded ends the host's part of a URL early: the rest of it would be taken for host or path. */
function urlFault(text: string): string | undefined {
  if (!/[/?#\\].*@/s.test(text.slice(text.indexOf('://') + 3))) return undefined
  return 'has an "@" behind a "/", "?" or "#". In a user or password write "@" as %40, "/" as %2F, "?" as %3F, "#" as %23 and "%" as %25.'
}

function endpointFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && /^https?:$/.test(url.protocol) && !/[@?#]/.test(text)) return undefined
  return 'must be the http:// or https:// address of an S3 service, without user, password or query.'
}

function secretsOf(text: string): string[] {
  return text.split(',').map((secret) => secret.trim())
}

function secretFault(text: string): string | undefined {
  const secrets = secretsOf(text)
  if (secrets.some((secret) => secret.length < 32)) {
    return 'must be text of at least 32 characters, or several such texts with commas between.'
  }
  const guessable = (secret: string) =>
    new Set(secret).size < 8 ||
    Array.from({ length: 16 }, (_, index) => index + 1).some((period) =>
      [...secret].every((letter, index) => letter === secret[index % period]),
    )
  if (!secrets.some(guessable)) return undefined
  return 'repeats itself, so it can be guessed. `openssl rand -hex 32` generates one.'
}

function proxiesFault(text: string): string | undefined {
  const wrong = text.split(',').find((entry) => !isAddressRange(entry.trim()))
  if (wrong === undefined) return undefined
  return `must be addresses or ranges (10.0.0.0/8) with commas between, but ${JSON.stringify(wrong.trim())} is neither.`
}

function webhookHostsFault(text: string): string | undefined {
  const wrong = text.split(',').find((entry) => parseWebhookHost(entry.trim()) === undefined)
  if (wrong === undefined) return undefined
  return `must be names or addresses with commas between, each with or without a port, but ${JSON.stringify(wrong.trim())} is none.`
}

function isAddressRange(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const longest = isIP(address) === 6 ? 128 : 32
  if (isIP(address) === 0 || address.includes('%') || more.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= longest)
}

/** The standard variables that the storage is reached by: its library would report them without their names. */
function storageFaults(env: Readonly<Record<string, string>>): string[] {
  const faults: string[] = []
  const check = (names: readonly string[], fault: (text: string) => string | undefined) => {
    for (const name of names) {
      const found = env[name] === undefined ? undefined : fault(env[name])
      if (found !== undefined) faults.push(`${name} ${found}`)
    }
  }
  check(['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3'], endpointFault)
  check(['AWS_REGION', 'AWS_DEFAULT_REGION'], (text) =>
    /^[a-z0-9][a-z0-9-]{0,62}$/i.test(text)
      ? undefined
      : `must be the name of a region, something like us-east-1, but was ${JSON.stringify(shorten(text))}.`,
  )
  check(
    [
      'AWS_USE_DUALSTACK_ENDPOINT',
      'AWS_USE_FIPS_ENDPOINT',
      'AWS_S3_USE_ARN_REGION',
      'AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS',
      'AWS_S3_DISABLE_EXPRESS_SESSION_AUTH',
    ],
    (text) =>
      ['true', 'false'].includes(text)
        ? undefined
        : `must be true or false, but was ${JSON.stringify(shorten(text))}.`,
  )
  return faults
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
  if (role === 'server') wanted.push(['PACKSHOT_SECRET', config.secrets])
  const missing = wanted.filter(([, value]) => value === undefined).map(([name]) => name)
  if (missing.length === 0) return
  throw new ConfigError(
    missing.map((name) => `${name} must be set for \`npm run ${role}\`; \`npm start\` runs without it.`),
  )
}

function providersOf(list: string): ProviderName[] {
  return list.split(',').map((name) => name.trim() as ProviderName)
}

function unknownNames(env: Readonly<Record<string, string>>, known: readonly string[]): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('PACKSHOT_') && !known.includes(name))
    .filter((name) => !(name.endsWith('_FILE') && secretNames().includes(name.slice(0, -5))))
    .map((name) => {
      const close = nearest(name, known)
      return `There is no variable ${shorten(name)}. ${close === undefined ? `Known variables: ${known.join(', ')}.` : `Did you mean ${close}?`}`
    })
}

/** Numbers in plain decimal only: `0x10` and `1e3` are usually mistakes. */
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
