import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, loadConfig, requireServices } from '../../src/config.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { openBackends } from '../../src/main/backends.ts'
import { lastFirst } from '../cleanup.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { keepingLog } from '../quiet-log.ts'
import { isAlive, type ServerProcess, startServer } from '../service/server-process.ts'
import { freePort } from '../services/free-port.ts'
import { startRedis } from '../services/redis.ts'
import { services } from '../services/services.ts'
import { type Fleet, prepareFleet } from './fleet.ts'

/** F34: `npm run server` and `npm run worker` with each setting wrong. */

const programs = {
  server: new URL('../../src/main/server.ts', import.meta.url),
  worker: new URL('../../src/main/worker.ts', import.meta.url),
}
type Role = keyof typeof programs
const both: readonly Role[] = ['server', 'worker']
/** Part of every password in these tests: no output may have it. */
const hidden = 'hush'

interface Case {
  readonly name: string
  readonly roles?: readonly Role[]
  /** Those of the roles that are started as programs, for what only a whole program shows: one of each kind of fault. */
  readonly started?: readonly Role[]
  /** Undefined unsets a variable. */
  readonly env: Record<string, string | undefined>
  /** One for each fault, in any order. */
  readonly says: readonly RegExp[]
}

/**
 * Checks each case with each of its roles: reads the settings and opens the backends in this process, or starts the
 * whole program, three at a time. A lasting fault is reported within `seconds`.
 */
async function checkAll(t: TestContext, fleet: Fleet, cases: readonly Case[], seconds = '30'): Promise<void> {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION } = fleet.env
  // the SDK takes its keys from the environment alone
  Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION })
  const all = cases.flatMap(({ started = [], roles = both, ...each }) =>
    roles.map((role) => {
      const env = { ...fleet.env, PACKSHOT_START_SECONDS: seconds, PORT: '0', ...each.env }
      const known = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
      return { ...each, role, env: Object.fromEntries(known), isStarted: started.includes(role) }
    }),
  )
  const within = all.filter(({ isStarted }) => !isStarted)
  const starts = all.filter(({ isStarted }) => isStarted)
  const start = async () => {
    for (let next = starts.shift(); next !== undefined; next = starts.shift()) {
      const program = startServer(t, next.env, programs[next.role])
      assertRefused(`${next.role}: ${next.name}`, program, await program.ended, next.says)
      await waitFor(() => program.workers().every((pid) => !isAlive(pid)))
    }
  }
  const open = async ({ name, role, env, says }: (typeof within)[number]) => {
    const { faults, seen } = await faultsOf(env, role)
    assertFaults(faults, says, seen, `${role}: ${name}`)
  }
  await Promise.all([start(), start(), start(), ...within.map(open)])
  // nothing half started: every connection is closed
  const { broker, redis, storage } = fleet
  await waitFor(() => broker.connections() + redis.connections() + storage.connections() === 0)
}

/** What both programs do with their settings before anything else; and all that a log could have of it. */
async function faultsOf(env: Record<string, string>, role: Role) {
  const log = keepingLog()
  try {
    const config = loadConfig(env)
    requireServices(config, role)
    const backends = await openBackends(config, role, log)
    await backends[Symbol.asyncDispose]()
    return { faults: [], seen: 'it opened' }
  } catch (thrown) {
    const seen = inspect([thrown, log.lines], { depth: 10 })
    if (thrown instanceof ConfigError) return { faults: thrown.faults, seen }
    if (thrown instanceof AppError) return { faults: [thrown.message], seen }
    throw thrown
  }
}

/** Each is reported, and `seen`, everything that a person could see, contains no password. */
function assertFaults(faults: readonly string[], says: readonly RegExp[], seen: string, name: string): void {
  const where = `${name}\n${seen}`
  assert.equal(faults.length, says.length, where)
  for (const pattern of says) {
    assert.ok(
      faults.some((line) => pattern.test(line)),
      `${pattern} is not told. ${where}`,
    )
  }
  assert.ok(!seen.includes(hidden), `a password is told. ${where}`)
}

function assertRefused(
  name: string,
  program: ServerProcess,
  ended: number | string,
  says: readonly RegExp[],
): void {
  const output = program.output()
  const told = output.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
  const where = `${name}\n${output}`
  assert.equal(ended, 1, where)
  assert.match(told[0] ?? '', /^Packshot cannot start:/, where)
  const faults = told[0] === 'Packshot cannot start:' ? told.slice(1) : told
  assertFaults(faults, says, output, name)
  assert.doesNotMatch(told.join('\n'), /^\s+at /m, where)
  assert.doesNotMatch(output, /is ready/)
}

/** A port that something else listens on. */
async function portInUse(t: TestContext): Promise<string> {
  const other = createServer()
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  lastFirst(t).after(() => void other.close())
  return String((other.address() as { port: number }).port)
}

test('F34: a setting that cannot be read is refused by the name of its variable', async (t) => {
  const fleet = await prepareFleet(t, await services())
  const malformed = (name: string, value: string, roles = both): Case => ({
    name: `${name}=${value}`,
    roles,
    env: { [name]: value },
    says: [new RegExp(name)],
  })
  await checkAll(t, fleet, [
    malformed('PACKSHOT_QUEUE_URL', `localhost:${hidden}`),
    { ...malformed('PACKSHOT_QUEUE_URL', `amqp://user:${hidden}@`), started: both },
    malformed('PACKSHOT_STATUS_URL', `http://user:${hidden}@localhost`),
    malformed('PACKSHOT_STATUS_URL', `redis://user:%${hidden}@localhost`),
    malformed('PACKSHOT_STORAGE_URL', 'bucket', ['server']),
    malformed('PACKSHOT_STORAGE_URL', 's3://No_Bucket', ['worker']),
    malformed('PACKSHOT_S3_ENDPOINT', 'localhost:9000', ['server']),
    malformed('PACKSHOT_S3_ENDPOINT', `http://user:${hidden}@localhost:9000`, ['worker']),
    malformed('PACKSHOT_QUEUE_MAX', 'many', ['server']),
    malformed('PACKSHOT_SECRET', `${hidden} too short`, ['server']),
    {
      name: 'no PACKSHOT_SECRET',
      roles: ['server'],
      env: { PACKSHOT_SECRET: undefined },
      says: [/PACKSHOT_SECRET must be set/],
    },
    {
      name: 'no services',
      started: both,
      env: { PACKSHOT_QUEUE_URL: undefined, PACKSHOT_STATUS_URL: undefined },
      says: [/PACKSHOT_QUEUE_URL must be set/, /PACKSHOT_STATUS_URL must be set/],
    },
    {
      name: 'a variable that there is not',
      roles: ['worker'],
      env: { PACKSHOT_QUEUE_ULR: `amqp://user:${hidden}@host` },
      says: [/PACKSHOT_QUEUE_ULR. Did you mean PACKSHOT_QUEUE_URL\?/],
    },
    {
      name: 'no such model',
      started: both,
      env: { PACKSHOT_MODEL: 'no-such-model' },
      says: [/no-such-model/],
    },
  ])
})

test('F34: a service that is not there is refused by the name of its variable', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const gone = `127.0.0.1:${await freePort()}`
  const queue = { PACKSHOT_QUEUE_URL: `amqp://user:${hidden}@${gone}` }
  const status = { PACKSHOT_STATUS_URL: `redis://user:${hidden}@${gone}` }
  const storage = { PACKSHOT_S3_ENDPOINT: `http://${gone}` }
  await checkAll(
    t,
    fleet,
    [
      { name: 'no broker', env: queue, says: [/RabbitMQ at .*PACKSHOT_QUEUE_URL/] },
      { name: 'no Redis', env: status, says: [/Redis at .*PACKSHOT_STATUS_URL/] },
      { name: 'no storage', env: storage, says: [/storage at .*PACKSHOT_S3_ENDPOINT/] },
      {
        name: 'none of them, told at once',
        started: both,
        env: { ...queue, ...status, ...storage },
        says: [/PACKSHOT_QUEUE_URL/, /PACKSHOT_STATUS_URL/, /PACKSHOT_S3_ENDPOINT/],
      },
      {
        name: 'another service at each address',
        roles: ['server'],
        env: {
          PACKSHOT_QUEUE_URL: `amqp://${new URL(all.statusUrl).host}`,
          PACKSHOT_STATUS_URL: `redis://${new URL(all.s3Endpoint).host}`,
          PACKSHOT_S3_ENDPOINT: `http://${new URL(all.queueUrl).host}`,
        },
        says: [/PACKSHOT_QUEUE_URL/, /PACKSHOT_STATUS_URL/, /PACKSHOT_S3_ENDPOINT/],
      },
    ],
    String(stretched(3)),
  )
})

test('F34: a service that does not let us in is refused by the name of its variable', async (t) => {
  const all = await services()
  const redis = await startRedis(t)
  await redis.cli('CONFIG', 'SET', 'requirepass', 'right')
  const fleet = await prepareFleet(t, all)
  const wrongQueue = new URL(fleet.env.PACKSHOT_QUEUE_URL ?? '')
  wrongQueue.password = hidden
  const queue = { PACKSHOT_QUEUE_URL: wrongQueue.href }
  const status = { PACKSHOT_STATUS_URL: `redis://:${hidden}@127.0.0.1:${redis.port}` }
  const storage = { AWS_SECRET_ACCESS_KEY: hidden }
  await checkAll(t, fleet, [
    { name: 'wrong password of the broker', env: queue, says: [/refuses the user .*PACKSHOT_QUEUE_URL/] },
    { name: 'wrong password of Redis', env: status, says: [/PACKSHOT_STATUS_URL.* user and password/] },
    {
      name: 'no password of Redis',
      roles: ['worker'],
      env: { PACKSHOT_STATUS_URL: `redis://127.0.0.1:${redis.port}` },
      says: [/PACKSHOT_STATUS_URL.* user and password/],
    },
    { name: 'wrong key of the storage', started: both, env: storage, says: [/AWS_SECRET_ACCESS_KEY/] },
    {
      name: 'unknown key of the storage',
      roles: ['server'],
      started: ['server'],
      env: { AWS_ACCESS_KEY_ID: 'nobody' },
      says: [/AWS_ACCESS_KEY_ID/],
    },
    {
      name: 'no key of the storage',
      roles: ['worker'],
      started: ['worker'],
      env: { AWS_ACCESS_KEY_ID: undefined, AWS_EC2_METADATA_DISABLED: 'true' },
      says: [/AWS_ACCESS_KEY_ID/],
    },
    {
      name: 'none of them, told at once',
      started: both,
      env: { ...queue, ...status, ...storage },
      says: [/PACKSHOT_QUEUE_URL/, /PACKSHOT_STATUS_URL/, /AWS_SECRET_ACCESS_KEY/],
    },
  ])
})

test('F34: what is there and does not fit is refused by the name of its variable', async (t) => {
  const fleet = await prepareFleet(t, await services())
  // makes the queues
  const parts = await fleet.open()
  assert.equal(await parts.queue.depth(), 0)
  await checkAll(t, fleet, [
    {
      name: 'queues of another length',
      env: { PACKSHOT_QUEUE_MAX: '5' },
      says: [/PACKSHOT_QUEUE_MAX/],
    },
    {
      name: 'no such bucket',
      started: ['worker'],
      env: { PACKSHOT_STORAGE_URL: 's3://no-such-bucket-of-ours' },
      says: [/no-such-bucket-of-ours of PACKSHOT_STORAGE_URL does not exist/],
    },
    {
      name: 'a port in use',
      roles: ['server'],
      started: ['server'],
      env: { PORT: await portInUse(t) },
      says: [/is in use .* PORT/],
    },
    {
      name: 'a port in use',
      roles: ['worker'],
      started: ['worker'],
      env: { PACKSHOT_WORKER_PORT: await portInUse(t) },
      says: [/PACKSHOT_WORKER_PORT/],
    },
    {
      name: 'no address of this machine',
      roles: ['server'],
      started: ['server'],
      env: { PACKSHOT_HOST: '192.0.2.1', PACKSHOT_OPEN: '1' },
      says: [/192\.0\.2\.1 is not an address .*PACKSHOT_HOST/],
    },
  ])
})
