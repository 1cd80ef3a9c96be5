import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { lastFirst } from '../../../test/cleanup.ts'
import { limited, rateLimiterContract } from '../../../test/contract/rate-limiter.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { startRedis } from '../../../test/services/redis.ts'
import { statusUrl } from '../../../test/services/services.ts'
import { anonymousCaller, type Caller } from '../../jobs/caller.ts'
import { openRedis, type Redis } from './connection.ts'
import { redisRateLimiter } from './rate-limiter.ts'

const never = { take: () => assert.fail('Redis is there'), room: () => assert.fail('Redis is there') }

async function connected(t: TestContext, url?: string) {
  const redis = await openRedis({ url: url ?? (await statusUrl()), log: keepingLog(), timeoutMs: 2000 })
  lastFirst(t).after(() => redis.close())
  return redis
}

/** Keys in the shared Redis, deleted after the test, each with a time to live. */
async function someNamespace(t: TestContext) {
  const redis = await openRedis({ url: await statusUrl(), log: keepingLog(), timeoutMs: 2000 })
  const namespace = `test-${randomUUID()}`
  lastFirst(t).after(async () => {
    for (const key of (await redis.command('KEYS', `${namespace}:*`)) as string[]) {
      assert.ok(Number(await redis.command('PTTL', key)) !== -1, `${key} has a time to live`)
      await redis.command('DEL', key)
    }
    await redis.close()
  })
  return namespace
}

/** As if that much time had passed: a bucket is stored as the time at which it is full again, and expires then. */
async function shiftBack(redis: Redis, namespace: string, ms: number): Promise<void> {
  for (const key of (await redis.command('KEYS', `${namespace}:*`)) as string[]) {
    const [full, left] = [await redis.command('GET', key), await redis.command('PTTL', key)].map(Number)
    if (left !== undefined && left > ms) {
      await redis.command('SET', key, String((full ?? 0) - ms), 'PX', String(left - ms))
    } else await redis.command('DEL', key)
  }
}

rateLimiterContract('redis', async (t) => {
  const namespace = await someNamespace(t)
  const connections = await Promise.all(Array.from({ length: 4 }, () => connected(t)))
  let opened = 0
  return {
    open: () => {
      const redis = connections[opened++ % connections.length] as (typeof connections)[number]
      return redisRateLimiter(redis, { namespace, fallback: never, log: keepingLog() })
    },
    pass: (ms) => shiftBack(connections[0] as Redis, namespace, ms),
  }
})

test('keeps a client as a hash, until its bucket is full again', async (t) => {
  const redis = await connected(t)
  const namespace = await someNamespace(t)
  const options = { namespace, fallback: never, log: keepingLog() }
  const both = redisRateLimiter(redis, options)
  const limiter = limited(both, { perMinute: 60, burst: 10 })
  const client = 'a very secret client'
  const began = performance.now()
  await Promise.all([1, 2, 3].map(() => limiter.take(client)))
  const keys = (await redis.command('KEYS', `${namespace}:*`)) as string[]
  assert.equal(keys.length, 1)
  assert.ok(keys[0]?.startsWith(`${namespace}:limit:`) && !keys[0].includes('secret'))
  const left = Number(await redis.command('PTTL', keys[0] as string))
  const atMost = 3000 - (performance.now() - began)
  assert.ok(left >= atMost - 10 && left <= 3000, `about three seconds, not ${left} ms`)
  assert.equal(await redis.command('SET', keys[0] as string, '9e15', 'PX', '60000'), 'OK')
  const seconds = await limiter.take(client)
  assert.equal(seconds, 1, 'a clock that was set back blocks no caller for longer than the bucket takes')
})

test('each server limits for itself while Redis is away, and says so once', async (t) => {
  const own = await startRedis(t)
  const redis = await connected(t, own.url)
  const log = keepingLog()
  const asked: unknown[] = []
  const fallback = {
    take: async ({ account, limits }: Caller) => asked.push([account, limits.rate]),
    room: async ({ limits }: Caller) => ({ left: limits.rate?.burst ?? 0, seconds: 0 }),
  }
  const options = { namespace: 'n', fallback, log }
  const both = redisRateLimiter(redis, options)
  const limiter = limited(both, { perMinute: 60, burst: 5 })
  assert.equal(await limiter.take('a'), 0)
  await own.kill()
  assert.deepEqual([await limiter.take('a'), await limiter.take('b')], [1, 2])
  const half = { perMinute: 30, burst: 2 }
  assert.deepEqual(asked, [
    ['a', half],
    ['b', half],
  ])
  const caller = anonymousCaller('::1', { rate: { perMinute: 60, burst: 5 } })
  assert.deepEqual(await both.room(caller, 'rate'), { left: 2, seconds: 0 })
  await own.start()
  while ((await limiter.take('c')) !== 0) await pause(20)
  assert.deepEqual(
    log.lines.map(({ level }) => level),
    ['warn', 'info'],
  )
})
