import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ConfigError, Environment, loadConfig, requireServices } from './config.ts'

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.message, error.faults.join('\n'))
    return error.faults
  }
  return []
}

test('an empty environment gives the defaults, and other programs` variables are none of ours', () => {
  const config = loadConfig({ PATH: '/bin', HOST: 'somewhere' })
  assert.deepEqual(config, {
    port: 8080,
    host: '127.0.0.1',
    dataDir: './data',
    model: 'packshot-mini',
    modelsDir: './models',
    modelMemoryMb: undefined,
    providers: ['cpu'],
    profile: 'fast',
    threads: undefined,
    largePages: 'on',
    resultTtlSeconds: 86_400,
    queueMax: 1000,
    attemptSeconds: 1800,
    shutdownSeconds: 10,
    queueUrl: undefined,
    statusUrl: undefined,
    storage: undefined,
    namespace: 'packshot',
    secret: undefined,
    messageKey: undefined,
    startSeconds: 30,
    drainSeconds: 5,
    workerPort: undefined,
    promptWindows: 16,
    jobsPerMinute: 120,
    requestsPerMinute: 6000,
    unitsPerHour: 50_000,
    callerJobs: 200,
    callerUnits: 5000,
    ipv6Network: 64,
    callerUploadsMb: 2048,
    callerResultsMb: 20_480,
    uploadsMb: 20_480,
    resultsMb: 0,
    freeMb: 100,
    uploadMb: 10,
    uploadMegapixels: 24,
    trustedProxies: undefined,
    logLevel: 'info',
  })
})

test('values are read', () => {
  const config = loadConfig({
    PORT: '0',
    PACKSHOT_THREADS: '4',
    PACKSHOT_LOG_LEVEL: 'debug',
    PACKSHOT_DATA_DIR: '/x',
  })
  assert.deepEqual([config.port, config.threads, config.logLevel, config.dataDir], [0, 4, 'debug', '/x'])
})

test('every fault is told at once, each with its limit and what was given', () => {
  assert.deepEqual(
    faultsOf({
      PORT: '80a',
      PACKSHOT_QUEUE_MAX: '0',
      PACKSHOT_LOG_LEVEL: 'loud',
      PACKSHOT_DATA_DIR: '',
      PACKSHOT_QUEUE_MAXIMUM: '5',
    }),
    [
      'There is no variable PACKSHOT_QUEUE_MAXIMUM. Did you mean PACKSHOT_QUEUE_MAX?',
      'PORT must be a whole number from 0 to 65535, but was "80a".',
      'PACKSHOT_DATA_DIR must be non-empty text, but was "".',
      'PACKSHOT_QUEUE_MAX must be a whole number from 1 to 1000000, but was "0".',
      'PACKSHOT_LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent, but was "loud".',
    ],
  )
})

test('numbers are plain decimal', () => {
  for (const text of ['', ' 80', '0x50', '1e3', '-1', '8080.0', 'NaN', '9'.repeat(400)]) {
    assert.equal(faultsOf({ PORT: text }).length, 1, text)
  }
})

test('a misspelt variable is refused with the nearest name', () => {
  assert.deepEqual(faultsOf({ PACKSHOT_DATADIR: 'x' }), [
    'There is no variable PACKSHOT_DATADIR. Did you mean PACKSHOT_DATA_DIR?',
  ])
  assert.match(
    faultsOf({ PACKSHOT_XYZZY_AND_MORE_OF_IT: 'x' })[0] ?? '',
    /^There is no variable .* Known variables: PORT, /,
  )
})

test('addresses of services are told by their form, and their passwords are not repeated', () => {
  assert.deepEqual(
    faultsOf({
      PACKSHOT_QUEUE_URL: 'http://user:hunter2@host',
      PACKSHOT_STATUS_URL: 'host:6379',
      PACKSHOT_STORAGE_URL: 'bucket',
      PACKSHOT_SECRET: 'hunter2',
      PACKSHOT_NAMESPACE: 'Pack Shot',
    }),
    [
      'PACKSHOT_QUEUE_URL must be something like amqp://user:password@host:5672, but was text of 24 characters (not shown).',
      'PACKSHOT_STATUS_URL must be something like redis://user:password@host:6379, but was text of 9 characters (not shown).',
      'PACKSHOT_STORAGE_URL must be something like s3://bucket/prefix, but was "bucket".',
      'PACKSHOT_NAMESPACE must be something like packshot, but was "Pack Shot".',
      'PACKSHOT_SECRET must be text of at least 32 characters, but was text of 7 characters (not shown).',
    ],
  )
  assert.match(
    faultsOf({ PACKSHOT_S3_ENDPOINT: 'http://s3' })[0] ?? '',
    /no effect without PACKSHOT_STORAGE_URL/,
  )
})

test('providers are a list in order of preference', () => {
  assert.deepEqual(loadConfig({ PACKSHOT_PROVIDER: 'cuda, webgpu,cpu' }).providers, ['cuda', 'webgpu', 'cpu'])
  assert.deepEqual(faultsOf({ PACKSHOT_PROVIDER: 'gpu' }), [
    'PACKSHOT_PROVIDER must be something like cuda,webgpu,cpu, but was "gpu".',
  ])
  assert.deepEqual(faultsOf({ PACKSHOT_PROVIDER: 'cpu,cpu' }), [
    'PACKSHOT_PROVIDER names cpu twice. Name each once.',
  ])
  assert.equal(faultsOf({ PACKSHOT_PROVIDER: '' }).length, 1)
})

test('servers and workers need services that they can share', () => {
  const missing = (env: Record<string, string>, role: 'server' | 'worker') => {
    try {
      requireServices(loadConfig(env), role)
    } catch (error) {
      assert.ok(error instanceof ConfigError)
      return error.faults.map((fault) => fault.split(' ')[0])
    }
    return []
  }
  const urls = ['PACKSHOT_QUEUE_URL', 'PACKSHOT_STATUS_URL', 'PACKSHOT_STORAGE_URL']
  assert.deepEqual(missing({}, 'worker'), urls)
  assert.deepEqual(missing({}, 'server'), [...urls, 'PACKSHOT_SECRET'])
  const services = {
    PACKSHOT_QUEUE_URL: 'amqp://host',
    PACKSHOT_STATUS_URL: 'redis://host',
    PACKSHOT_STORAGE_URL: 's3://bucket',
  }
  assert.deepEqual(missing(services, 'worker'), [])
  assert.deepEqual(missing({ ...services, PACKSHOT_SECRET: 'x'.repeat(32) }, 'server'), [])
})

test('docs/config.md has a row for every variable, as the schema has it, and no other', () => {
  const text = readFileSync(new URL('../docs/config.md', import.meta.url), 'utf8')
  const rows = text.split('\n').filter((line) => line.startsWith('| `'))
  assert.deepEqual(
    rows,
    Object.entries(Environment.properties).map(([name, schema]) => row(name, schema)),
  )
})

function row(name: string, schema: object): string {
  const {
    default: fallback,
    minimum,
    maximum,
    enum: choices,
    examples,
    description,
  } = schema as Record<string, unknown>
  const values = Array.isArray(choices)
    ? choices.map((choice) => `\`${choice}\``).join(', ')
    : minimum === undefined
      ? Array.isArray(examples)
        ? `\`${examples[0]}\``
        : 'text'
      : `${minimum} to ${maximum}`
  return `| \`${name}\` | ${fallback === undefined ? 'not set' : `\`${fallback}\``} | ${values} | ${description} |`
}
