import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../test/cleanup.ts'
import { ConfigError, Environment, loadConfig, readStorageSecrets, requireServices } from './config.ts'

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
    keysFile: undefined,
    open: '0',
    page: undefined,
    failedKeysPerMinute: 30,
    dataDir: './data',
    model: 'packshot-mini',
    matte: 'packshot-matte',
    modelsDir: './models',
    modelMemoryMb: undefined,
    providers: ['cpu'],
    profile: 'auto',
    precision: 'exact',
    threads: undefined,
    batch: 'auto',
    largePages: 'on',
    resultTtlSeconds: 86_400,
    keptPictures: 200,
    thumbnailsAtOnce: 2,
    workspaceJobs: 300,
    workspaceLooks: 40,
    workspaceDays: 90,
    catalogueTtlSeconds: 604_800,
    catalogueRows: 50_000,
    cataloguePictures: 100_000,
    catalogueMb: 16,
    catalogueRuns: 10,
    queueMax: 1000,
    attemptSeconds: 1800,
    shutdownSeconds: 10,
    queueUrl: undefined,
    statusUrl: undefined,
    storage: undefined,
    namespace: 'packshot',
    secrets: undefined,
    messageKey: undefined,
    startSeconds: 30,
    drainSeconds: 5,
    workerPort: undefined,
    metricsPort: undefined,
    metricsHost: '127.0.0.1',
    promptWindows: 16,
    finishPixels: 16_777_216,
    pictureSettings: 'on',
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
    uploadKeptMegapixels: 9,
    uploadSide: 16_384,
    holdSeconds: 270,
    webhooks: 'on',
    webhookHosts: undefined,
    webhooksMax: 10_000,
    trustedProxies: undefined,
    allowedHosts: undefined,
    idleSeconds: 30,
    minKibPerSecond: 8,
    bufferMb: 256,
    connections: 2048,
    clientConnections: 512,
    eventStreams: 1000,
    callerEventStreams: 500,
    sentryDsn: undefined,
    sentryEnvironment: undefined,
    sentryRelease: undefined,
    reportsPerMinute: 20,
    tracing: undefined,
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
      PACKSHOT_QUEUE_MAXIMUM: '5',
    }),
    [
      'There is no variable PACKSHOT_QUEUE_MAXIMUM. Did you mean PACKSHOT_QUEUE_MAX?',
      'PORT must be a whole number from 0 to 65535, but was "80a".',
      'PACKSHOT_QUEUE_MAX must be a whole number from 1 to 1000000, but was "0".',
      'PACKSHOT_LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent, but was "loud".',
    ],
  )
})

test('numbers are plain decimal', () => {
  for (const text of [' ', ' 80', '0x50', '1e3', '-1', '8080.0', 'NaN', '9'.repeat(400)]) {
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
      'PACKSHOT_STORAGE_URL must be something like s3://bucket/prefix, but was text of 6 characters (not shown).',
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
  assert.deepEqual(loadConfig({ PACKSHOT_PROVIDER: '' }).providers, ['cpu'])
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
  assert.deepEqual(
    missing({ ...services, PACKSHOT_SECRET: 'abcdefghijklmnopqrstuvwxyz012345' }, 'server'),
    [],
  )
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

test('an empty value counts as not set, as a compose file writes it', () => {
  const names = [...Object.keys(Environment.properties), 'AWS_REGION', 'AWS_ENDPOINT_URL']
  const empty = Object.fromEntries(names.map((name) => [name, '']))
  assert.deepEqual(loadConfig(empty), loadConfig({}))
  const { storage } = loadConfig({
    ...empty,
    PACKSHOT_STORAGE_URL: 's3://b',
    AWS_DEFAULT_REGION: 'eu-west-1',
  })
  assert.deepEqual(storage, {
    url: 's3://b',
    region: 'eu-west-1',
    endpoint: undefined,
    publicEndpoint: undefined,
  })
})

test('variables that Kubernetes and Docker write for services called packshot are passed over', () => {
  const kubernetes = (name: string) => ({
    [`${name}_SERVICE_HOST`]: '10.96.12.7',
    [`${name}_SERVICE_PORT`]: '8080',
    [`${name}_SERVICE_PORT_HTTP`]: '8080',
    [`${name}_PORT`]: 'tcp://10.96.12.7:8080',
    [`${name}_PORT_8080_TCP`]: 'tcp://10.96.12.7:8080',
    [`${name}_PORT_8080_TCP_PROTO`]: 'tcp',
    [`${name}_PORT_8080_TCP_PORT`]: '8080',
    [`${name}_PORT_8080_TCP_ADDR`]: '10.96.12.7',
    [`${name}_PORT_53_UDP`]: 'udp://10.96.12.7:53',
  })
  const docker = {
    PACKSHOT_NAME: '/proxy/packshot',
    PACKSHOT_1_NAME: '/proxy/packshot_1',
    PACKSHOT_ENV_PACKSHOT_MODEL: 'x',
    PACKSHOT_REDIS_1_ENV_PATH: '/bin',
  }
  const links = { ...kubernetes('PACKSHOT'), ...kubernetes('PACKSHOT_REDIS_MASTER'), ...docker }
  assert.deepEqual(loadConfig(links), loadConfig({}))
  // a service called packshot-worker writes the name of a setting
  assert.equal(loadConfig(kubernetes('PACKSHOT_WORKER')).workerPort, undefined)
  assert.equal(loadConfig({ PACKSHOT_WORKER_PORT: '9000' }).workerPort, 9000)
  for (const [name, value] of [
    ['PACKSHOT_PORT', '8080'],
    ['PACKSHOT_MODEL_NAME', 'apples'],
    ['PACKSHOT_SERVICE', 'x'],
  ] as const) {
    assert.match(faultsOf({ [name]: value })[0] ?? '', new RegExp(`There is no variable ${name}`))
  }
})

test('a password that is not encoded is refused, and no part of it is shown', () => {
  const urls = {
    PACKSHOT_QUEUE_URL: 'amqp://u:p@ss/Tail777@rabbit:5672',
    PACKSHOT_STATUS_URL: 'redis://u:1/Tail777@redis:6379/0',
    PACKSHOT_STORAGE_URL: 's3://key:x/Tail777@bucket',
    PACKSHOT_S3_ENDPOINT: 'http://u:1#Tail777@minio:9000',
    PACKSHOT_S3_PUBLIC_ENDPOINT: 'https://u:Tail777@minio:9000',
    AWS_ENDPOINT_URL: 'https://minio:9000/?Tail777',
  }
  const faults = faultsOf(urls)
  assert.deepEqual(faults.map((fault) => fault.split(' ')[0]).toSorted(), Object.keys(urls).toSorted())
  assert.ok(!faults.some((fault) => fault.includes('Tail777')), faults.join('\n'))
  assert.match(faults[0] ?? '', /write "@" as %40, "\/" as %2F/)
})

test('addresses of proxies, regions and switches are checked here, not by a library without their names', () => {
  const proxies = (text: string) => faultsOf({ PACKSHOT_TRUSTED_PROXIES: text })
  for (const text of ['10.0.0.0/8, 127.0.0.1', '::1', 'fd00::/8,10.1.2.3/32'])
    assert.deepEqual(proxies(text), [])
  for (const text of [
    '10.0.0.0/33',
    '127.0.0.1, ',
    '10.0.0',
    '::1/129',
    '10.0.0.0/8/8',
    'fe80::1 ::2',
    '1.2.3.4/',
  ]) {
    assert.match(proxies(text).join(), /^PACKSHOT_TRUSTED_PROXIES must be addresses or ranges/, text)
  }
  const hosts = (text: string) => faultsOf({ PACKSHOT_WEBHOOK_HOSTS: text })
  assert.deepEqual(hosts('hooks.lan, *.svc.cluster.local,10.0.0.7:8080, [fd00::7]:80'), [])
  for (const text of ['hooks.lan,', '10.0.0.0/8', '*', 'http://hooks', 'hooks:99999', '[10.0.0.1]'])
    assert.match(hosts(text).join(), /^PACKSHOT_WEBHOOK_HOSTS must be/, text)
  const storage = { PACKSHOT_STORAGE_URL: 's3://b' }
  for (const [name, value] of [
    ['AWS_REGION', 'eu west'],
    ['AWS_DEFAULT_REGION', 'eu/west'],
    ['AWS_ENDPOINT_URL_S3', 'minio:9000'],
    ['AWS_USE_DUALSTACK_ENDPOINT', 'yes'],
  ] as const) {
    assert.match(faultsOf({ ...storage, [name]: value }).join(), new RegExp(`^${name} must be`))
    assert.deepEqual(faultsOf({ [name]: value }), [])
  }
  const standard = { ...storage, AWS_ENDPOINT_URL: 'http://a', AWS_ENDPOINT_URL_S3: 'http://b' }
  assert.equal(loadConfig(standard).storage?.endpoint, 'http://b')
  assert.equal(loadConfig({ ...standard, PACKSHOT_S3_ENDPOINT: 'http://c' }).storage?.endpoint, 'http://c')
})

test('a secret that can be guessed is refused; several are a list whose first one signs', () => {
  const [one, two] = ['5f0c1d7be2a94836b1d2c3e4f5a60718', 'Zk3vQ9tLr8Xw2Nc7Ub5Hy1Jm6Pd4Sg0A']
  assert.deepEqual(loadConfig({ PACKSHOT_SECRET: `${one}, ${two}` }).secrets, [one, two])
  for (const text of [
    'a'.repeat(40),
    '0123456789'.repeat(4),
    'change-me-'.repeat(4),
    `${one},${'ab'.repeat(20)}`,
  ]) {
    assert.match(faultsOf({ PACKSHOT_SECRET: text }).join(), /^PACKSHOT_SECRET repeats itself/)
  }
  const short = faultsOf({ PACKSHOT_SECRET: `${one},short-hunter2` })
  assert.match(short.join(), /at least 32 characters/)
  assert.ok(!short.join().includes('hunter2'))
})

test('every secret may be in a file of one line; other settings may not', (t) => {
  const folder = tempFolder(t)
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const values: Record<string, string> = {
    PACKSHOT_QUEUE_URL: 'amqp://u:p@rabbitmq:5672',
    PACKSHOT_STATUS_URL: 'redis://:p@valkey:6379',
    PACKSHOT_STORAGE_URL: 's3://packshot',
    PACKSHOT_S3_ENDPOINT: 'http://s3:9000',
    PACKSHOT_S3_PUBLIC_ENDPOINT: 'https://pictures.example.com',
    PACKSHOT_SECRET: '5f0c1d7be2a94836b1d2c3e4f5a60718',
    PACKSHOT_MESSAGE_KEY: 'Zk3vQ9tLr8Xw2Nc7Ub5Hy1Jm6Pd4Sg0A',
    SENTRY_DSN: 'https://key@glitchtip.example.com/1',
  }
  const secret = Object.entries(Environment.properties).filter(([, schema]) => 'secret' in schema)
  for (const [name, schema] of secret) {
    const { examples } = schema as { examples?: unknown[] }
    values[name] ??= String(examples?.[0] ?? 'Zk3vQ9tLr8Xw2Nc7Ub5Hy1Jm6Pd4Sg0B')
  }
  const files = Object.fromEntries(secret.map(([name]) => [`${name}_FILE`, file(name, `${values[name]}\n`)]))
  assert.deepEqual(loadConfig(files), loadConfig(values))
  assert.deepEqual(
    loadConfig({ ...files, PACKSHOT_SECRET_FILE: file('crlf', `${values.PACKSHOT_SECRET}\r\n`) }),
    loadConfig(values),
  )
  assert.deepEqual(faultsOf({ PACKSHOT_MODEL_FILE: file('model', 'x') }).length, 1)
  // an empty value counts as not set here, too
  assert.deepEqual(loadConfig({ ...values, PACKSHOT_SECRET_FILE: '' }), loadConfig(values))
})

test('a secret file that gives nothing is one fault with its name, and no content is shown', (t) => {
  const folder = tempFolder(t)
  const [empty, lines, missing] = ['empty', 'lines', 'missing'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(empty, ' \n\n')
  writeFileSync(lines, 'hunter2\nhunter3\n')
  mkdirSync(join(folder, 'folder'))
  const fault = (path: string) => faultsOf({ PACKSHOT_MESSAGE_KEY_FILE: path })
  assert.deepEqual(fault(empty), [`PACKSHOT_MESSAGE_KEY_FILE names "${empty}", which is empty.`])
  assert.deepEqual(fault(lines), [
    `PACKSHOT_MESSAGE_KEY_FILE names "${lines}", which has more than one line.`,
  ])
  assert.deepEqual(fault(missing), [`PACKSHOT_MESSAGE_KEY_FILE names "${missing}", which does not exist.`])
  assert.match(fault(join(folder, 'folder')).join(), /which is a folder\.$/)
  const both = faultsOf({ PACKSHOT_SECRET_FILE: lines, PACKSHOT_SECRET: '5f0c1d7be2a94836b1d2c3e4f5a60718' })
  assert.deepEqual(both, ['PACKSHOT_SECRET_FILE and PACKSHOT_SECRET are both set. Unset one.'])
  // what depends on the missing one is not reported as well
  const storage = { PACKSHOT_STORAGE_URL_FILE: missing, PACKSHOT_S3_ENDPOINT: 'http://s3:9000' }
  assert.equal(faultsOf(storage).length, 1)
  // the content is checked and named like that of the variable, without being shown
  writeFileSync(lines, 'hunter2')
  assert.deepEqual(fault(lines), [
    'PACKSHOT_MESSAGE_KEY must be text of at least 32 characters, but was text of 7 characters (not shown).',
  ])
})

test('secrets of the storage are put where its library reads them', (t) => {
  const path = join(tempFolder(t), 'key')
  writeFileSync(path, 'wJalr\n')
  const env: Record<string, string | undefined> = {
    AWS_SECRET_ACCESS_KEY_FILE: path,
    AWS_ACCESS_KEY_ID_FILE: `${path}-missing`,
  }
  readStorageSecrets(env)
  assert.deepEqual(env, { AWS_SECRET_ACCESS_KEY: 'wJalr', AWS_ACCESS_KEY_ID_FILE: `${path}-missing` })
  const faults = faultsOf(env as Record<string, string>)
  assert.deepEqual(faults, [`AWS_ACCESS_KEY_ID_FILE names "${path}-missing", which does not exist.`])
})
