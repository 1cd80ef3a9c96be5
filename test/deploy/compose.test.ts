import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { parse } from 'yaml'
import { ConfigError, Environment, loadConfig, requireServices } from '../../src/config.ts'
import { requireDecision } from '../../src/main/callers.ts'
import { letterTimeoutMs } from '../services/rabbitmq.ts'
import {
  type ComposeFile,
  composed,
  deployed,
  ensureCompose,
  environmentOf,
  filled,
  makeSecrets,
  readComposed,
  secondsOf,
} from './compose-files.ts'
import { root } from './image-tree.ts'

before(ensureCompose)

const text = readFileSync(join(root, 'deploy/compose.yaml'), 'utf8')
const both = text + readFileSync(join(root, 'deploy/compose.nginx.yaml'), 'utf8')
const third = [
  'rabbitmq',
  'valkey',
  's3',
  'traefik',
  'docker-socket',
  'prometheus',
  'alertmanager',
  'grafana',
]

const own = ({ services }: ComposeFile) => Object.entries(services).filter(([name]) => !third.includes(name))

test('every setting that the file names exists, and with the secrets each role has what it needs', (t) => {
  const folder = deployed(t)
  assert.equal(makeSecrets(folder).status, 0)
  const file = readComposed(folder)
  for (const [name, service] of own(file)) {
    const config = loadConfig(environmentOf(service, join(folder, 'secrets')))
    if (name === 'server') requireServices(config, 'server')
    if (name === 'server') requireDecision(config)
    if (name.startsWith('worker')) requireServices(config, 'worker')
    if (name === 'setup') assert.ok(config.storage !== undefined)
    assert.deepEqual(
      service.environment?.PACKSHOT_SECRET_FILE !== undefined,
      ['server', 'jobs'].includes(name),
      name,
    )
  }
  const { services } = file
  const config = loadConfig(environmentOf(services.server, join(folder, 'secrets')))
  assert.equal(config.metricsPort, 9464)
  assert.match(config.queueUrl ?? '', /^amqp:\/\/packshot:[0-9a-f]{64}@rabbitmq:5672$/)
  // all that is in .env as an example is passed on, and has the default that it says
  const example = readFileSync(join(folder, 'env.example'), 'utf8')
  for (const [, name = ''] of example.matchAll(/^#?([A-Z][A-Z0-9_]*)=/gm)) {
    const used = both.includes(`\${${name}`) || ['COMPOSE_FILE', 'COMPOSE_PROJECT_NAME'].includes(name)
    assert.ok(used, `${name} of env.example is in compose.yaml`)
    if (/^PACKSHOT_(?!(CUDA_)?IMAGE$)/.test(name)) assert.ok(name in Environment.properties, name)
  }
})

test('a container may do nothing that it need not, writes a bounded log, has bounds and a health check', (t) => {
  const file = readComposed(deployed(t))
  for (const [name, service] of Object.entries(file.services)) {
    assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name)
    assert.ok(service.logging?.options['max-size'], name)
    assert.match(service.image, /^packshot(-cuda)?:|:v?\d|:RELEASE/, `${name} has a version`)
    const runs = service.restart !== 'no'
    if (runs) assert.ok(service.deploy?.resources?.limits?.memory, `${name} has a limit of memory`)
    if (runs && name !== 'docker-socket') assert.ok(service.healthcheck?.test, `${name} has a health check`)
  }
  for (const [name, service] of own(file)) {
    assert.deepEqual([service.read_only, service.cap_drop], [true, ['ALL']], name)
  }
  const published = Object.entries(file.services).flatMap(([name, { ports = [] }]) =>
    ports.map((port) => `${name} ${typeof port === 'string' ? port : `${port.published}:${port.target}`}`),
  )
  assert.deepEqual(published, ['grafana 127.0.0.1:3000:3000/tcp', 'traefik 80:80', 'traefik 443:443'])
  const inside = ['rabbitmq', 'valkey', 's3', 'worker', 'worker-gpu', 'setup']
  for (const name of inside)
    assert.deepEqual(Object.keys(file.services[name]?.networks ?? {}), ['back'], name)
  assert.deepEqual([file.networks.back?.internal, file.networks.socket?.internal], [true, true])
  for (const name of ['server', 'worker']) {
    const conditions = Object.entries(file.services[name]?.depends_on ?? {}).map(([on, { condition }]) => [
      on,
      condition,
    ])
    assert.deepEqual(Object.fromEntries(conditions), {
      rabbitmq: 'service_healthy',
      valkey: 'service_healthy',
      setup: 'service_completed_successfully',
    })
  }
})

test('a container is killed only after its program has had its time, and the broker waits longer than an attempt', (t) => {
  const folder = deployed(t)
  makeSecrets(folder)
  const { services } = readComposed(folder)
  const { server, worker, rabbitmq } = services
  const served = loadConfig(environmentOf(server, join(folder, 'secrets')))
  assert.ok(secondsOf(server?.stop_grace_period ?? '') > served.drainSeconds + served.holdSeconds)
  const works = loadConfig(environmentOf(worker, join(folder, 'secrets')))
  // a minute for the step that is computed: worker-supervisor.ts
  assert.ok(secondsOf(worker?.stop_grace_period ?? '') > works.shutdownSeconds + 60)
  const args = rabbitmq?.environment?.RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS ?? ''
  assert.ok(Number(/consumer_timeout (\d+)/.exec(args)?.[1]) >= 2000 * works.attemptSeconds)
  const letters = Number(/dead_letter_worker_publisher_confirm_timeout (\d+)/.exec(args)?.[1])
  assert.equal(letters, letterTimeoutMs, 'the tests of outages stand for this setting')
  // the proxy notices within the time to drain that a server is not ready
  const every = /healthcheck\.interval: (\d+)s/.exec(text)?.[1]
  assert.ok(Number(every) * 2 < served.drainSeconds)
})

test('every file that a container mounts exists', (t) => {
  const folder = deployed(t)
  makeSecrets(folder)
  const file = readComposed(folder, ['compose.yaml', 'compose.nginx.yaml'], { CERTIFICATES: folder })
  const sources = Object.values(file.services).flatMap(({ volumes = [] }) =>
    volumes
      .map((volume) => (typeof volume === 'string' ? (volume.split(':')[0] ?? '') : volume.source))
      .filter((source) => source.startsWith(folder)),
  )
  assert.ok(sources.length > 5)
  for (const source of sources) assert.ok(existsSync(source), source)
  for (const secret of Object.values(file.secrets)) assert.ok(existsSync(secret.file), secret.file)
  for (const { build } of Object.values(file.services))
    if (build)
      assert.ok(existsSync(join(build.context, 'Dockerfile')) || build.context === join(folder, '..'))
  const proxy = readFileSync(join(folder, 'nginx/packshot.conf'), 'utf8')
  const wanted = [...proxy.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name ?? '')
  const given = Object.keys(file.services.nginx?.environment ?? {}).filter((name) =>
    name.startsWith('PROXY_'),
  )
  assert.deepEqual(given.toSorted(), [...new Set(wanted)].toSorted())
  // nginx stands in the place of Traefik: both want the same ports
  assert.deepEqual(file.services.traefik?.profiles, ['traefik'])
  assert.deepEqual(file.services['docker-socket']?.profiles, ['traefik'])
})

test('without what an operator must decide Compose says one sentence and starts nothing', (t) => {
  for (const [values, said] of [
    [
      null,
      /put the name of this host on the internet into DOMAIN in deploy\/\.env|run "sh secrets\.sh" in deploy/,
    ],
    [
      { ...filled, DOMAIN: '' },
      /put the name of this host on the internet into DOMAIN in deploy\/\.env \(copy env\.example\)$/m,
    ],
    [
      { ...filled, ACME_EMAIL: '' },
      /put a mail address for the certificate authority into ACME_EMAIL in deploy\/\.env$/m,
    ],
    [
      { ...filled, SECRETS_DIR: '' },
      /run "sh secrets\.sh" in deploy\/ and put the folder that it names into SECRETS_DIR in deploy\/\.env$/m,
    ],
  ] as const) {
    const { status, stderr } = composed(deployed(t, values))
    assert.notEqual(status, 0)
    assert.match(stderr, said)
  }
  const { stderr } = composed(deployed(t), ['compose.yaml', 'compose.nginx.yaml'])
  assert.match(
    stderr,
    /put the folder of fullchain\.pem and privkey\.pem into CERTIFICATES in deploy\/\.env$/m,
  )
})

test('secrets are made once, completely, for the owner, and two that belong together are not parted', (t) => {
  const folder = deployed(t)
  const made = makeSecrets(folder)
  assert.equal(made.status, 0, made.stderr)
  const place = join(folder, 'secrets')
  const all = () =>
    Object.fromEntries(readdirSync(place).map((name) => [name, readFileSync(join(place, name), 'utf8')]))
  const first = all()
  assert.deepEqual(
    Object.keys(first).toSorted(),
    [...Object.keys(parse(text).secrets), 'rabbitmq.conf', 'valkey.conf'].toSorted(),
  )
  assert.equal(statSync(place).mode & 0o777, 0o700)
  for (const name of Object.keys(first)) assert.equal(statSync(join(place, name)).mode & 0o777, 0o444, name)
  assert.equal(new Set(Object.values(first)).size, Object.keys(first).length, 'none is that of another')
  assert.equal(makeSecrets(folder).stdout, `SECRETS_DIR=${place}\n`)
  assert.deepEqual(all(), first)
  rmSync(join(place, 'grafana_password'))
  assert.equal(makeSecrets(folder).stdout, `made ${place}/grafana_password\nSECRETS_DIR=${place}\n`)
  assert.deepEqual({ ...all(), grafana_password: '' }, { ...first, grafana_password: '' })
  rmSync(join(place, 'queue_url'))
  const parted = makeSecrets(folder)
  assert.equal(parted.status, 1)
  assert.match(parted.stderr, /has only one of rabbitmq\.conf and queue_url, which belong together/)
})

test('a secret file that is empty or missing is one sentence with its name', (t) => {
  const folder = deployed(t)
  makeSecrets(folder)
  const env = environmentOf(readComposed(folder).services.server, join(folder, 'secrets'))
  const faults = () => {
    try {
      return [loadConfig(env)].length
    } catch (error) {
      assert.ok(error instanceof ConfigError)
      return error.faults
    }
  }
  assert.equal(faults(), 1)
  for (const name of ['message_key', 's3_password']) {
    rmSync(join(folder, 'secrets', name))
    writeFileSync(join(folder, 'secrets', name), '')
  }
  rmSync(join(folder, 'secrets/queue_url'))
  assert.deepEqual(faults(), [
    `PACKSHOT_QUEUE_URL_FILE names "${folder}/secrets/queue_url", which does not exist.`,
    `PACKSHOT_MESSAGE_KEY_FILE names "${folder}/secrets/message_key", which is empty.`,
    `AWS_SECRET_ACCESS_KEY_FILE names "${folder}/secrets/s3_password", which is empty.`,
  ])
})

test('the template for Portainer has the shape of version 3, and asks for variables that there are', () => {
  const file = JSON.parse(readFileSync(join(root, 'deploy/portainer/templates.json'), 'utf8'))
  assert.equal(file.version, '3')
  for (const template of file.templates) {
    assert.deepEqual([template.type, template.platform], [3, 'linux'])
    assert.ok(existsSync(join(root, template.repository.stackfile)))
    for (const { name } of template.env) assert.ok(text.includes(`\${${name}`), name)
    for (const [, name] of text.matchAll(/\$\{(\w+):\?/g))
      assert.ok(
        template.env.some((asked: { name: string }) => asked.name === name),
        name,
      )
  }
})
