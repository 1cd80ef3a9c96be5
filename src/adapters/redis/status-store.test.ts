import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { someRequest, someTask } from '../../../test/contract/jobs.ts'
import { statusStoreContract } from '../../../test/contract/status-store.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { startRedis } from '../../../test/services/redis.ts'
import { statusUrl } from '../../../test/services/services.ts'
import { type JobStatus, statusRank, type Task } from '../../jobs/job.ts'
import type { StatusStore } from '../../jobs/ports.ts'
import { workUnits } from '../../jobs/work.ts'
import { openRedis, type Redis } from './connection.ts'
import { defineScript } from './script.ts'
import { redisStatusStore } from './status-store.ts'

/** Time to live in ms of every key whose name begins with ARGV[1]; -1 is none. */
const lives = defineScript(`
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('PTTL', key)
end
return found`)

async function timesToLive(redis: Redis, namespace: string): Promise<Map<string, number>> {
  const reply = (await redis.script(lives, [], [`${namespace}:`])) as (string | number)[]
  return new Map(reply.flatMap((each, i) => (i % 2 === 0 ? [[String(each), Number(reply[i + 1])]] : [])))
}

/** Deletes all keys of a test; the rest of the shared Redis stays. */
async function removed(redis: Redis, namespace: string): Promise<void> {
  for (const key of (await timesToLive(redis, namespace)).keys()) await redis.command('DEL', key)
}

async function connected(t: TestContext): Promise<Redis> {
  const redis = await openRedis({ url: await statusUrl(), log: keepingLog(), timeoutMs: 2000 })
  lastFirst(t).after(() => redis.close())
  return redis
}

/** A store with a namespace of its own; after each of its commands every key has a time to live. */
async function started(t: TestContext) {
  const namespace = `test-${randomUUID()}`
  const redis = await openRedis({ url: await statusUrl(), log: keepingLog(), timeoutMs: 2000 })
  lastFirst(t).after(async () => {
    await removed(redis, namespace)
    await redis.close()
  })
  const checkLives = async () => {
    const lasting = [...(await timesToLive(redis, namespace))].filter(([, ms]) => ms < 0)
    assert.deepEqual(lasting, [], 'every key has a time to live')
  }
  const store = new Proxy(redisStatusStore(redis, { namespace, log: keepingLog() }), {
    get: (target, name: keyof StatusStore) => {
      const method = target[name]
      if (typeof method !== 'function') return method
      return async (...args: unknown[]) => {
        const answer = await Reflect.apply(method, target, args)
        await checkLives()
        return answer
      }
    },
  })
  return { redis, namespace, store, key: (name: string) => `${namespace}:${name}` }
}

statusStoreContract('redis', async (t) => (await started(t)).store, 'by itself')

test('keeps a state as long as its results and two hours more, by the times of the task alone', async (t) => {
  const { redis, namespace, store, key } = await started(t)
  // Created by a host whose clock is a year behind.
  const task = someTask({ created_at: '2020-01-01T00:00:00.000Z', expires_at: '2020-01-01T01:00:00.000Z' })
  await store.create(task)
  await store.requestCancel(task.id)
  const left = await timesToLive(redis, namespace)
  const state = left.get(key(`job:${task.id}`)) ?? 0
  assert.ok(state > 2.9 * 3_600_000 && state <= 3 * 3_600_000, `three hours, not ${state} ms`)
  assert.ok((left.get(key(`cancel:${task.id}`)) ?? 0) > 23 * 3_600_000)
  assert.deepEqual(await store.ahead(task.id), { jobs: 0, units: 0 })
})

test('sets of jobs live as long as the longest of them', async (t) => {
  const { redis, namespace, store, key } = await started(t)
  const week = 7 * 86_400_000
  const created_at = new Date().toISOString()
  await store.create(someTask({ created_at, expires_at: new Date(Date.now() + week).toISOString() }))
  await store.create(someTask())
  const left = await timesToLive(redis, namespace)
  for (const name of ['waiting:interactive', 'until', 'work'])
    assert.ok((left.get(key(name)) ?? 0) > week, name)
})

test('many updates at once end at the highest rank, and none is seen to go back', async (t) => {
  const { store, namespace } = await started(t)
  const others = await Promise.all(
    [1, 2, 3, 4].map(async () => redisStatusStore(await connected(t), { namespace, log: keepingLog() })),
  )
  const task = someTask()
  await store.create(task)
  const seen: number[] = []
  let over = false
  const watching = (async () => {
    while (!over) seen.push(statusRank[(await store.get(task.id))?.status as JobStatus])
  })()
  const statuses: JobStatus[] = ['running', 'queued', 'succeeded', 'failed', 'running', 'canceled']
  const updates = Array.from({ length: 200 }, (_, index) => {
    const status = index === 150 ? 'expired' : (statuses[(index * 7) % statuses.length] as JobStatus)
    return others[index % 4]?.advance(task.id, { status, progress: { step: index, steps: 200 } })
  })
  await Promise.all(updates)
  over = true
  await watching
  assert.equal((await store.get(task.id))?.status, 'expired')
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  )
})

test('of many final states told at once one stays, with its own error', async (t) => {
  const { store, namespace } = await started(t)
  const other = redisStatusStore(await connected(t), { namespace, log: keepingLog() })
  for (let round = 0; round < 20; round++) {
    const task = someTask()
    await Promise.all([store.create(task), other.create(task)])
    await Promise.all([
      other.advance(task.id, { status: 'failed', error: { code: 'timeout', message: 'late' } }),
      store.advance(task.id, { status: 'succeeded' }),
    ])
    const state = await store.get(task.id)
    assert.equal(state?.error !== undefined, state?.status === 'failed')
    assert.equal(await store.ahead(task.id), undefined)
  }
})

test('a job that cannot be listed is created all the same, and the log says so', async (t) => {
  const { redis, namespace } = await started(t)
  const log = keepingLog()
  const store = redisStatusStore(redis, { namespace, log })
  const task = someTask({ caller: 'shop', account: 'caller:shop' })
  // a key of another kind in the list's place
  await redis.command('SET', `${namespace}:list:caller:shop`, 'x', 'PX', '60000')
  assert.equal((await store.create(task)).id, task.id)
  assert.equal((await store.get(task.id))?.status, 'queued')
  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message]),
    [['warn', 'adding a job to the list of its caller failed; continuing without it']],
  )
})

test('two servers that create jobs at once give each one place', async (t) => {
  const { store, namespace } = await started(t)
  const other = redisStatusStore(await connected(t), { namespace, log: keepingLog() })
  const tasks = Array.from({ length: 50 }, () => someTask())
  await Promise.all(tasks.flatMap((task, index) => [(index % 2 ? store : other).create(task)]))
  const places = await Promise.all(tasks.map(async ({ id }) => (await other.ahead(id))?.jobs ?? -1))
  assert.deepEqual(
    places.toSorted((a, b) => a - b),
    tasks.map((_, index) => index),
  )
})

test('work that is given back or told twice is counted once, and rounding leaves nothing behind', async (t) => {
  const { store } = await started(t)
  const tasks = [0.1, 0.7, 1 / 3].map((cfg, index) =>
    someTask({ request: someRequest({ steps: 3 + index, width: 333, guidance_scale: cfg }) }),
  )
  for (const task of tasks) await store.create(task)
  const last = someTask()
  await store.create(last)
  for (const { id } of tasks) {
    for (let step = 0; step <= 3; step++)
      await store.advance(id, { status: 'running', progress: { step, steps: 3 } })
  }
  assert.equal((await store.ahead(last.id))?.jobs, 3)
  assert.ok(((await store.ahead(last.id))?.units ?? 1) < 1e-9)
  for (const { id } of tasks) await store.advance(id, { status: 'succeeded' })
  assert.deepEqual(await store.ahead(last.id), { jobs: 0, units: 0 })
})

test('a state that was evicted leaves a place that ends with the job', async (t) => {
  const { redis, store, key } = await started(t)
  const [first, second] = [someTask(), someTask()]
  await store.create(first)
  await store.create(second)
  await redis.command('DEL', key(`job:${first.id}`))
  assert.equal(await store.get(first.id), undefined)
  assert.deepEqual(await store.ahead(first.id), { jobs: 0, units: 0 })
  await store.advance(first.id, { status: 'running' })
  assert.equal((await store.ahead(second.id))?.jobs, 1)
  await store.advance(first.id, { status: 'succeeded' })
  assert.equal((await store.ahead(second.id))?.jobs, 0)
  assert.equal(await store.get(first.id), undefined)
})

test('a job that is created again keeps its place', async (t) => {
  const { redis, store, key } = await started(t)
  const [first, second] = [someTask(), someTask()]
  await store.create(first)
  await store.create(second)
  await redis.command('DEL', key(`job:${first.id}`))
  await store.create(first)
  assert.equal((await store.get(first.id))?.status, 'queued')
  const ahead = await store.ahead(second.id)
  assert.equal(ahead?.jobs, 1)
  assert.ok(Math.abs((ahead?.units ?? 0) - workUnits(first.request)) < 1e-9)
})

test('a clock of Redis that was set back changes no order', async (t) => {
  const { redis, store, key } = await started(t)
  const tasks = [someTask(), someTask(), someTask()]
  const ids = tasks.map(({ id }) => id) as [string, string, string]
  await store.create(tasks[0] as Task)
  const tomorrow = String((Date.now() + 86_400_000) * 1000)
  await redis.command('ZADD', key('waiting:interactive'), tomorrow, ids[0])
  for (const task of tasks.slice(1)) await store.create(task)
  const places = await Promise.all(ids.map(async (id) => (await store.ahead(id))?.jobs))
  assert.deepEqual(places, [0, 1, 2])
})

test('any key may be evicted alone', async (t) => {
  const { redis, store, key } = await started(t)
  for (const name of ['work', 'until', 'running', 'waiting:interactive', 'waiting:batch']) {
    const [first, second, third] = [someTask(), someTask({ priority: 'batch' }), someTask()]
    for (const task of [first, second]) await store.create(task)
    await store.advance(first.id, { status: 'running' })
    await redis.command('DEL', key(name))
    await store.create(third)
    assert.ok((await store.ahead(third.id)) !== undefined, name)
    for (const { id } of [first, second, third]) {
      await store.advance(id, { status: 'running', progress: { step: 1, steps: 4 } })
      await store.advance(id, { status: 'succeeded' })
    }
    assert.deepEqual(await redis.command('ZCARD', key('running')), 0, name)
  }
})

test('jobs that are never heard of again stop to count', async (t) => {
  const { redis, store, key } = await started(t)
  const [lost, silent, waiting] = [someTask(), someTask(), someTask()]
  for (const task of [lost, silent, waiting]) await store.create(task)
  await store.advance(silent.id, { status: 'running' })
  assert.equal((await store.ahead(waiting.id))?.jobs, 2)
  // What time would do: one is past its expiry, the other has been silent for long.
  for (const { id } of [lost, silent]) await redis.command('ZADD', key('until'), 'XX', '1', id)
  await store.heartbeat('a worker', undefined)
  assert.deepEqual(await store.ahead(waiting.id), { jobs: 0, units: 0 })
  assert.equal((await store.get(lost.id))?.status, 'queued', 'the state is kept')
  await store.advance(silent.id, { status: 'running', progress: { step: 1, steps: 4 } })
  const ahead = await store.ahead(waiting.id)
  assert.equal(ahead?.jobs, 1, 'it counts again after an update')
  assert.ok(Math.abs((ahead?.units ?? 0) - 0.75 * workUnits(silent.request)) < 1e-9)
})

test('a state that cannot be read counts as unknown', async (t) => {
  const { redis, store, key } = await started(t)
  const task = someTask()
  await store.create(task)
  await redis.command('HSET', key(`job:${task.id}`), 'request', '{"prompt":7}')
  assert.equal(await store.get(task.id), undefined)
  await redis.command('HSET', key(`job:${task.id}`), 'request', 'no JSON')
  assert.equal(await store.get(task.id), undefined)
})

test('does not count a worker that was not heard of for 20 seconds, and keeps its speed', async (t) => {
  const { redis, store, key } = await started(t)
  await store.heartbeat('one', 2)
  await store.heartbeat('two', 4)
  const [seconds] = (await redis.command('TIME')) as string[]
  await redis.command('ZADD', key('workers'), String((Number(seconds) - 21) * 1e6), 'one')
  assert.deepEqual(await store.load(), { workers: 1, secondsPerUnit: 3 })
  for (let index = 0; index < 8; index++) await store.heartbeat(`new ${index}`, 8)
  assert.deepEqual(await store.load(), { workers: 9, secondsPerUnit: 8 })
  await redis.command('ZADD', key('workers'), '1', 'one')
  await store.heartbeat('two', undefined)
  assert.equal(await redis.command('HGET', key('speeds'), 'one'), null)
})

test('gives each account a lane while it has jobs, and the emptiest to a new one', async (t) => {
  const { store } = await started(t)
  const submit = async (account: string, lanes = 4) => {
    const lane = await store.lane(account, 'interactive', lanes)
    const task = someTask({ account })
    await store.create(task)
    return { lane, id: task.id }
  }
  const lanesOf = async (account: string, count: number) => {
    const seen = []
    for (let n = 0; n < count; n += 1) seen.push((await submit(account)).lane)
    return seen
  }
  assert.deepEqual(await lanesOf('ann', 9), Array(9).fill(0))
  assert.deepEqual(await lanesOf('bob', 8), Array(8).fill(1))
  assert.deepEqual(await lanesOf('cid', 7), Array(7).fill(2))
  // the last lane is for few jobs: the fifth goes to the emptiest of the others
  assert.deepEqual(await lanesOf('dan', 7), [3, 3, 3, 3, 2, 2, 2])
  assert.equal(await store.lane('eve', 'interactive', 4), 3, 'not behind those with many')
  assert.equal(await store.lane('fay', 'interactive', 4), 3)
  assert.equal(await store.lane('eve', 'batch', 4), 0, 'each class has its own')
  assert.deepEqual(await lanesOf('ann', 1), [0])
  assert.equal((await submit('dan', 2)).lane, 0, 'a server with fewer lanes')
})

test('an account without jobs gives its lane back, and so does one whose jobs left unseen', async (t) => {
  const { redis, store, key } = await started(t)
  const [done, lost] = [someTask({ account: 'ann' }), someTask({ account: 'bob' })]
  const ask = (account: string) => store.lane(account, 'interactive', 3)
  const longAgo = async (account: string) => {
    const [lane] = String(await redis.command('HGET', key('lanes:interactive'), account)).split(' ')
    await redis.command('HSET', key('lanes:interactive'), account, `${lane} 1`)
  }
  assert.deepEqual([await ask('ann'), await ask('bob'), await ask('cid')], [0, 1, 2])
  await store.create(done)
  await store.create(lost)
  for (const account of ['ann', 'bob', 'cid']) await longAgo(account)
  await store.advance(done.id, { status: 'running' })
  await store.advance(done.id, { status: 'succeeded' })
  assert.equal(await ask('dan'), 0, 'that of ann')
  assert.equal(await ask('bob'), 1, 'its job waits')
  await longAgo('bob')
  // a process of an earlier version takes a job out of its place only
  await redis.command('ZREM', key('waiting:interactive'), lost.id)
  assert.equal(await ask('eve'), 1)
  assert.equal(await redis.command('HEXISTS', key('lanes:interactive'), 'bob'), 0)
  assert.equal(await redis.command('ZCARD', key('waiting:interactive:callers')), 0)
})

test('with what it knows of turns evicted, the place is by order again', async (t) => {
  const { redis, store, key } = await started(t)
  const tasks = ['ann', 'ann', 'ann', 'bob'].map((account) => someTask({ account }))
  for (const task of tasks) await store.create(task)
  const last = tasks[3] as Task
  assert.equal((await store.ahead(last.id))?.jobs, 1)
  await redis.command('DEL', key('waiting:interactive:of:bob'))
  assert.equal((await store.ahead(last.id))?.jobs, 3)
  await redis.command('DEL', key('waiting:interactive:callers'))
  assert.ok((await store.ahead((tasks[2] as Task).id)) !== undefined)
  for (const { id } of tasks) {
    await store.advance(id, { status: 'running' })
    await store.advance(id, { status: 'succeeded' })
  }
  assert.deepEqual(await redis.command('KEYS', key('waiting:*')), [])
  assert.deepEqual(await redis.command('KEYS', key('work')), [])
})

test('goes on after FLUSHALL and after a restart with nothing kept', async (t) => {
  const own = await startRedis(t)
  const redis = await openRedis({ url: own.url, log: keepingLog(), timeoutMs: 2000 })
  lastFirst(t).after(() => redis.close())
  const store = redisStatusStore(redis, { namespace: 'flushed', log: keepingLog() })
  const [before, after_] = [someTask(), someTask()]
  await store.create(before)
  await own.cli('FLUSHALL')
  assert.equal(await store.get(before.id), undefined)
  assert.equal(await store.ahead(before.id), undefined)
  await store.advance(before.id, { status: 'running' })
  await store.create(after_)
  assert.deepEqual(await store.ahead(after_.id), { jobs: 0, units: 0 })
  await own.restart()
  const again = () =>
    store.create(before).then(
      () => true,
      () => new Promise((go) => setTimeout(go, 20)),
    )
  while ((await again()) !== true);
  await store.advance(before.id, { status: 'running' })
  assert.equal((await store.get(before.id))?.status, 'running')
  await own.cli('CONFIG', 'SET', 'maxmemory', '1')
  await assert.rejects(store.create(after_), { code: 'unavailable' })
  await assert.rejects(store.heartbeat('one', 1), { code: 'unavailable' })
  assert.equal((await store.get(before.id))?.status, 'running')
  assert.equal(await store.ahead(after_.id), undefined)
})
