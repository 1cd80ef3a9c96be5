import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { lastFirst } from '../../../test/cleanup.ts'
import { startProxy } from '../../../test/fault-kit/proxy.ts'
import { stretched, waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freePort } from '../../../test/services/free-port.ts'
import { startRedis } from '../../../test/services/redis.ts'
import { AppError } from '../../jobs/errors.ts'
import { openRedis, type Redis } from './connection.ts'
import { defineScript } from './script.ts'

/** Enough for an answer of Redis, however slow the machine is. */
const timeoutMs = stretched(150)

const one = defineScript('return 1')

async function opened(t: TestContext, url: string) {
  const log = keepingLog()
  const redis = await openRedis({ url, log, timeoutMs, startMs: 60_000 })
  lastFirst(t).after(() => redis.close())
  return { redis, log, said: (text: RegExp) => log.lines.filter(({ message }) => text.test(message)).length }
}

async function until(what: string, holds: () => unknown): Promise<void> {
  await waitFor(holds).catch((cause: unknown) => {
    throw new Error(`it never is ${what}`, { cause })
  })
}

function works(redis: Redis): Promise<boolean> {
  return redis.command('PING').then(
    (reply) => reply === 'PONG',
    () => false,
  )
}

/** Blocks the event loop. */
function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

const isUnavailable = (error: unknown) =>
  error instanceof AppError && error.code === 'unavailable' && error.cause instanceof Error

/** Rejects before anything could have come from the network. */
async function rejectsAtOnce(promise: Promise<unknown>): Promise<void> {
  const outcome = promise.then(
    () => 'resolved',
    (error) => (isUnavailable(error) ? 'rejected' : error),
  )
  assert.equal(await Promise.race([outcome, turn('waits')]), 'rejected')
}

function listening(t: TestContext, server: ReturnType<typeof createTcpServer>): Promise<number> {
  lastFirst(t).after(() => void server.close())
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

async function startError(url: string, startMs = 300) {
  const log = keepingLog()
  const error = await openRedis({ url, log, startMs }).then(
    () => assert.fail('it opened'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof AppError)
  assert.deepEqual([error.code, error.param], ['unavailable', 'PACKSHOT_STATUS_URL'])
  const told = JSON.stringify([error.message, String(error.cause), log.lines])
  assert.ok(!told.includes('hush'), `the password is nowhere: ${told}`)
  return { message: error.message, tries: log.lines.length }
}

test('names what is wrong with the URL', async () => {
  assert.match((await startError('localhost:6379')).message, /must be a URL of the form redis:\/\//)
  assert.match((await startError('nonsense hush')).message, /not a URL of the form redis:/)
  assert.match((await startError('http://u:hush@localhost')).message, /must be a URL of the form redis:/)
  assert.match((await startError('redis://u:hush@localhost/jobs')).message, /more than a database number/)
  assert.match((await startError('redis://u:%hush@localhost')).message, /"%"/)
  for (const end of ['?db=5', '/0?password=hush', '#3']) {
    const { message } = await startError(`redis://localhost:1${end}`)
    assert.match(message, /parameters behind "\?" or "#"/)
  }
})

test('tries again at the start until the time is over, then names the host', async () => {
  // a slow process makes fewer tries
  const refused = await startError(`redis://u:hush@127.0.0.1:${await freePort()}`, stretched(1000))
  assert.match(refused.message, /127\.0\.0\.1:\d+ .*ECONNREFUSED/)
  assert.ok(refused.tries > 0, 'each try is in the log')
  assert.match(
    (await startError('redis://no-such-host.invalid')).message,
    /no-such-host\.invalid:6379.*(ENOTFOUND|EAI_AGAIN)/,
  )
})

test('waits at the start for a Redis that comes later', async (t) => {
  const service = await startRedis(t)
  await service.kill()
  const opening = opened(t, service.url)
  await pause(200)
  await service.start()
  const { redis, said } = await opening
  assert.equal(await works(redis), true)
  assert.ok(said(/Retrying/) > 0)
})

test('says at once that the password is wrong or missing, and signs in with the right one', async (t) => {
  const { port, cli } = await startRedis(t)
  await cli('CONFIG', 'SET', 'requirepass', 'right')
  const wrong = await startError(`redis://:hush@127.0.0.1:${port}`, 30_000)
  assert.match(wrong.message, /does not accept this user and password: WRONGPASS/)
  assert.match((await startError(`redis://127.0.0.1:${port}`, 30_000)).message, /NOAUTH/)
  assert.match((await startError(`redis://:right@127.0.0.1:${port}/99`, 30_000)).message, /DB index/)
  const { redis } = await opened(t, `redis://:right@127.0.0.1:${port}/3`)
  assert.equal(await works(redis), true)
})

test('says that what answers is not a Redis', async (t) => {
  const http = await listening(
    t,
    createServer((_, response) => response.end('hello')),
  )
  assert.match((await startError(`redis://127.0.0.1:${http}`, 30_000)).message, /is not Redis/)
  const mute = await listening(
    t,
    createTcpServer((socket) => void socket.on('error', () => {}).resume()),
  )
  assert.match((await startError(`redis://127.0.0.1:${mute}`, 100)).message, /No answer within/)
})

test('waits for a Redis that loads its data', async (t) => {
  const loading = createTcpServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', () => socket.write('-LOADING Redis is loading the dataset in memory\r\n'))
  })
  const { message, tries } = await startError(`redis://127.0.0.1:${await listening(t, loading)}`, 1000)
  assert.match(message, /still loading/)
  assert.ok(tries > 0)
})

test('takes no read-only replica', async (t) => {
  const [primary, replica] = [await startRedis(t), await startRedis(t)]
  await replica.cli('REPLICAOF', '127.0.0.1', String(primary.port))
  assert.match((await startError(replica.url)).message, /read-only replica/)
})

test('leaves a primary that became a replica, and uses it again when it is one no more', async (t) => {
  const [service, other] = [await startRedis(t), await startRedis(t)]
  const { redis, said } = await opened(t, service.url)
  await service.cli('REPLICAOF', '127.0.0.1', String(other.port))
  await assert.rejects(redis.command('SET', 'a', '1', 'PX', '1000'), isUnavailable)
  await until('lost', () => said(/was lost/) === 1)
  await service.cli('REPLICAOF', 'NO', 'ONE')
  await until('written', () => redis.command('SET', 'a', '1', 'PX', '1000').catch(() => false))
})

test('rejects at once while Redis is down, says so once, and comes back by itself', async (t) => {
  const service = await startRedis(t)
  const { redis, said } = await opened(t, service.url)
  assert.equal(await redis.script(one, [], []), 1)
  await service.hang()
  const inFlight = Promise.allSettled(Array.from({ length: 50 }, () => redis.command('PING')))
  await pause(20)
  await service.kill()
  for (const each of await inFlight) assert.ok(each.status === 'rejected' && isUnavailable(each.reason))
  await until('lost', () => said(/was lost/) === 1)
  for (let count = 0; count < 5; count++) await rejectsAtOnce(redis.command('PING'))
  await service.start()
  await until('back', () => said(/is back/) === 1)
  assert.equal(await redis.script(one, [], []), 1, 'the script is sent again')
  assert.equal(said(/was lost/), 1)
})

test('sends a script again that Redis forgot', async (t) => {
  const service = await startRedis(t)
  const { redis } = await opened(t, service.url)
  assert.equal(await redis.script(one, [], []), 1)
  await service.cli('SCRIPT', 'FLUSH')
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => redis.script(one, [], []))), [1, 1, 1])
})

test('a Redis that hangs costs one time limit, and is used again when it goes on', async (t) => {
  const service = await startRedis(t)
  const { redis } = await opened(t, service.url)
  await service.hang()
  await assert.rejects(redis.command('PING'), isUnavailable)
  for (let count = 0; count < 5; count++) await rejectsAtOnce(redis.command('PING'))
  service.resume()
  await until('in use again', () => works(redis))
})

test('takes an answer in time that this process was too busy to read', async (t) => {
  const { redis } = await opened(t, (await startRedis(t)).url)
  const answer = redis.command('PING')
  await turn()
  busy(1.25 * timeoutMs)
  assert.equal(await answer, 'PONG')
})

test('a command that this process was too busy to send has its time later', async (t) => {
  const { port } = await startRedis(t)
  const proxy = await startProxy(t, { host: '127.0.0.1', port })
  const { redis } = await opened(t, `redis://127.0.0.1:${proxy.port}`)
  proxy.delay(20)
  const answer = redis.command('PING')
  busy(3.3 * timeoutMs)
  assert.equal(await answer, 'PONG')
})

test('gives up a connection on which nothing is answered, and makes a new one', async (t) => {
  const service = await startRedis(t)
  const { redis, said } = await opened(t, service.url)
  await service.hang()
  await until('lost', async () => {
    await works(redis)
    return said(/was lost/) === 1
  })
  await rejectsAtOnce(redis.command('PING'))
  service.resume()
  await until('in use again', () => works(redis))
})

test('a full Redis rejects writes and answers reads', async (t) => {
  const service = await startRedis(t)
  const { redis } = await opened(t, service.url)
  await redis.command('SET', 'a', 'kept', 'PX', '60000')
  await service.cli('CONFIG', 'SET', 'maxmemory', '1')
  await assert.rejects(redis.command('SET', 'b', '1', 'PX', '1000'), (error) => {
    return isUnavailable(error) && /full/.test((error as Error).message)
  })
  assert.equal(await redis.command('GET', 'a'), 'kept')
})

test('rejects after it was closed, and closes while Redis is away', async (t) => {
  const service = await startRedis(t)
  const { redis } = await opened(t, service.url)
  await service.kill()
  await redis.close()
  await rejectsAtOnce(redis.command('PING'))
  await redis.close()
})

test('whatever the network does, every rejection is the one that is promised, and it ends well', async (t) => {
  const service = await startRedis(t)
  const proxy = await startProxy(t, { host: '127.0.0.1', port: service.port })
  const { redis } = await opened(t, `redis://127.0.0.1:${proxy.port}`)
  let over = false
  const [outcomes, others] = [{ resolved: 0, rejected: 0 }, [] as unknown[]]
  const callers = Array.from({ length: 20 }, async (_, caller) => {
    for (let count = 0; !over; count++) {
      await redis.command('SET', `key ${caller}`, String(count), 'PX', '60000').then(
        () => outcomes.resolved++,
        (error) => (isUnavailable(error) ? outcomes.rejected++ : others.push(error)),
      )
      await pause(2)
    }
  })
  for (const fault of [
    proxy.cut,
    () => proxy.delay(2 * timeoutMs),
    proxy.blackHole,
    proxy.refuse,
    proxy.cut,
  ]) {
    await fault()
    await pause(2.7 * timeoutMs)
    await proxy.pass()
    await until('in use again', () => works(redis))
  }
  over = true
  await Promise.all(callers)
  assert.deepEqual(others, [])
  assert.ok(outcomes.resolved > 100 && outcomes.rejected > 0, JSON.stringify(outcomes))
})
