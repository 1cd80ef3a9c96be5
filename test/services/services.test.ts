import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  GetObjectCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
  S3Client,
  type S3ServiceException,
} from '@aws-sdk/client-s3'
import { type Channel, Connection } from 'rabbitmq-client'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { speaksAmqp, speaksHttp, speaksRedis } from './answers.ts'
import { startRabbitmq } from './rabbitmq.ts'
import { startRedis } from './redis.ts'
import { type RgwService, startRgw } from './rgw.ts'
import { services } from './services.ts'

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

test('the shared services answer, and a second call gives the same ones', async () => {
  const found = await services()
  assert.deepEqual(await services(), found)
  if (process.env.TEST_QUEUE_URL) return
  const port = (url: string) => Number(new URL(url).port)
  assert.ok(await speaksAmqp(port(found.queueUrl)))
  assert.ok(await speaksRedis(port(found.statusUrl)))
  assert.ok(await speaksHttp(found.s3Endpoint))
})

test('Redis is killed, started, restarted and told commands', async (t) => {
  const redis = await startRedis(t, { config: ['maxmemory 3mb', 'maxmemory-policy noeviction'] })
  assert.equal(await redis.cli('SET', 'key', 'two words'), '+OK\r\n')
  assert.equal(await redis.cli('GET', 'key'), '$9\r\ntwo words\r\n')
  assert.match(await redis.cli('CONFIG', 'GET', 'maxmemory'), /3145728/)
  await assert.rejects(redis.cli('NONSENSE'), /ERR unknown command/)
  await redis.kill()
  assert.equal(await speaksRedis(redis.port), false)
  assert.throws(() => redis.pid(), /redis is not running/)
  await redis.start()
  await redis.restart()
  assert.equal(await redis.cli('GET', 'key'), '$-1\r\n')
})

test('a service that does not come up rejects with what it printed', async (t) => {
  await assert.rejects(
    startRedis(t, { config: ['no-such-setting 1'] }),
    /redis ended while it started[\s\S]*no-such-setting/,
  )
})

test('a confirmed message of RabbitMQ survives a kill of the node', async (t) => {
  const rabbitmq = await startRabbitmq(t, { config: ['consumer_timeout = 60000'] })
  await connected(rabbitmq.url, async (channel) => {
    await channel.queueDeclare({ queue: 'q', durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await channel.confirmSelect()
    await channel.basicPublish({ routingKey: 'q', durable: true }, 'kept')
  })
  assert.equal(await rabbitmq.evaluate('application:get_env(rabbit, consumer_timeout)'), '{ok, 60000}')
  // 3.10 writes down seconds later that a quorum queue was made; one killed before that does not find it again
  await sleep(5000)
  await rabbitmq.kill()
  await rabbitmq.start()
  let body: unknown
  await waitFor(async () => {
    // each attempt on its own channel: a queue without a leader closes the channel that asked
    await connected(rabbitmq.url, async (channel) => {
      body = (await channel.basicGet({ queue: 'q' }))?.body
    }).catch(() => sleep(200))
    return body !== undefined
  })
  assert.equal(body, 'kept')
})

async function connected(url: string, action: (channel: Channel) => Promise<void>): Promise<void> {
  const connection = new Connection(url)
  connection.on('error', () => {})
  try {
    await action(await connection.acquire())
  } finally {
    // it waits for the channels that are still open
    connection.unsafeDestroy()
  }
}

test('two S3 servers at once, with conditions, quotas, lifecycle days of seconds and kills', async (t) => {
  const [one, other] = await Promise.all([startRgw(t, { lifecycleDaySeconds: 1 }), startRgw(t)])
  await Promise.all([one.createBucket('pictures'), other.createBucket('pictures')])
  const [client, otherClient] = [s3(one), s3(other)]
  const put = (key: string) =>
    client.send(
      new PutObjectCommand({ Bucket: 'pictures', Key: key, Body: Buffer.from('a'), IfNoneMatch: '*' }),
    )
  const get = (from: S3Client, key: string) =>
    from.send(new GetObjectCommand({ Bucket: 'pictures', Key: key }))
  await put('kept')
  await assert.rejects(put('kept'), (error: S3ServiceException) => error.$metadata.httpStatusCode === 412)
  await assert.rejects(get(otherClient, 'kept'), { name: 'NoSuchKey' })
  // before the kill: a gateway that dies at this work holds the lifecycle up for a minute
  await put('passing')
  const Filter = { Prefix: 'passing' }
  const rule = { ID: 'days', Status: 'Enabled', Filter, Expiration: { Days: 1 } } as const
  const LifecycleConfiguration = { Rules: [rule] }
  await client.send(
    new PutBucketLifecycleConfigurationCommand({ Bucket: 'pictures', LifecycleConfiguration }),
  )
  const isGone = () =>
    get(client, 'passing').then(
      () => false,
      (error: Error) => error.name === 'NoSuchKey',
    )
  await waitFor(isGone)
  await one.kill()
  assert.equal(await speaksHttp(one.endpoint), false)
  await one.start()
  assert.equal(await (await get(client, 'kept')).Body?.transformToString(), 'a')
  await one.radosgwAdmin('user', 'suspend', '--uid=test')
  await one.restart()
  await assert.rejects(put('refused'), (error: S3ServiceException) => error.$metadata.httpStatusCode === 403)
})

test('nothing outlives a kill -9 of the process that started it', async (t) => {
  const folder = tempFolder(t)
  const script = `
    import { startRabbitmq } from '${path('rabbitmq.ts')}'
    import { startRedis } from '${path('redis.ts')}'
    import { startRgw } from '${path('rgw.ts')}'
    const t = { after() {} }
    await Promise.all([startRabbitmq(t), startRedis(t), startRgw(t)])
    console.log('up')
    setInterval(() => {}, 1000)`
  const starter = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { PATH: process.env.PATH, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  lastFirst(t).after(() => starter.kill('SIGKILL'))
  await once(starter.stdout, 'data')
  const started = descendants(starter.pid ?? 0)
  const names = started.map(({ name }) => name)
  for (const name of ['beam.smp', 'epmd', 'redis-server', 'ceph-mon', 'ceph-osd', 'radosgw']) {
    assert.ok(names.includes(name), `${name} is among ${names}`)
  }
  assert.equal(readdirSync(folder).length, 3)
  starter.kill('SIGKILL')
  await waitFor(() => !started.some(isAlive))
  await waitFor(() => readdirSync(folder).length === 0)
})

test('the runner gives the addresses to its command and ends with its status', () => {
  const given = {
    TEST_QUEUE_URL: 'amqp://given',
    TEST_STATUS_URL: 'redis://given',
    TEST_STORAGE_URL: 's3://given',
    TEST_S3_ENDPOINT: 'http://given',
    AWS_ACCESS_KEY_ID: 'id',
    AWS_SECRET_ACCESS_KEY: 'secret',
  }
  const run = (env: Record<string, string>, ...command: string[]) =>
    spawnSync(process.execPath, [path('run.ts'), ...command], {
      env: { PATH: process.env.PATH, ...env },
      encoding: 'utf8',
    })
  const ended = run(given, '--', 'sh', '-c', 'echo $TEST_QUEUE_URL $AWS_REGION; exit 3')
  assert.match(ended.stdout, /services for the tests are up after .* s\.\namqp:\/\/given us-east-1\n/)
  assert.equal(ended.status, 3)
  assert.equal(run(given, '--', 'sh', '-c', 'kill -TERM $$').status, 143)
  assert.equal(run(given).status, 2)
  const partial = run({ ...given, TEST_S3_ENDPOINT: '' }, '--', 'true')
  assert.deepEqual([partial.status, /TEST_S3_ENDPOINT must be set/.test(partial.stderr)], [1, true])
})

function s3(service: RgwService): S3Client {
  return new S3Client({
    endpoint: service.endpoint,
    region: service.region,
    credentials: { accessKeyId: service.accessKeyId, secretAccessKey: service.secretAccessKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}

interface Started {
  readonly pid: number
  readonly name: string
}

/** All processes below this one, from /proc. */
function descendants(pid: number): Started[] {
  const all = readdirSync('/proc')
    .map(Number)
    .filter((id) => id > 0)
    .flatMap((id) => statOf(id) ?? [])
  const below = (parent: number): Started[] =>
    all.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)])
  return below(pid)
}

/** A zombie is not alive, and neither is another process with the same id. */
function isAlive({ pid, name }: Started): boolean {
  const present = statOf(pid)
  return present !== undefined && present.state !== 'Z' && present.name === name
}

function statOf(pid: number) {
  const file = `/proc/${pid}/stat`
  if (!existsSync(file)) return undefined
  try {
    const [, name = '', state = '', parent] = /\((.*)\) (\S) (\d+)/.exec(readFileSync(file, 'utf8')) ?? []
    return { pid, name, state, parent: Number(parent) }
  } catch {
    // it ended between the two lines above
    return undefined
  }
}
