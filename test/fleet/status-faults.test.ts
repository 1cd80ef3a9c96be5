import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type JobView, viewOfManifest } from '../../src/jobs/serving/job-view.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import type { Services } from '../services/provide.ts'
import { type RedisService, startRedis } from '../services/redis.ts'
import { services } from '../services/services.ts'
import { cancelPatiently, endWell, post, startCrew } from './crew.ts'
import { idsOf, prepareFleet } from './fleet.ts'

/** F15 and F16: Redis unavailable, emptied or full. Answers stay right, and accepted jobs are unaffected. */

async function start(t: TestContext, extra: Record<string, string> = {}) {
  const redis: RedisService = await startRedis(t)
  const all: Services = { ...(await services()), statusUrl: redis.url }
  const fleet = await prepareFleet(t, all, extra)
  const crew = await startCrew(fleet, { servers: 1, workers: 1 }, { TEST_TELL: '1' })
  const parts = await fleet.open()
  const [address] = crew.addresses
  const untilStep = (id: string) => waitFor(async () => (await view(address, id)).progress !== undefined)
  return { all, redis, fleet, crew, address, parts, untilStep }
}

test('F15: with Redis away jobs are accepted, made and answered, and known to it when it is back', async (t) => {
  const { all, fleet, crew, address, parts, untilStep } = await start(t)
  const ids: string[] = []
  for (const fault of [() => fleet.redis.refuse(), () => fleet.redis.blackHole()]) {
    const during = await submit(address, { prompt: '200ms', steps: 10 })
    await untilStep(during.id)
    await fault()
    assert.match((await view(address, during.id)).status, /queued|running/)
    const meanwhile = await submit(address, { prompt: '10ms' })
    assert.equal(meanwhile.status, 'queued')
    for (const { id } of [during, meanwhile]) {
      const seen = await untilFinal(address, id)
      const manifest = await parts.images.getManifest(id)
      assert.ok(manifest !== undefined && manifest.status === 'succeeded' && manifest.attempts === 1)
      assert.deepEqual(seen, viewOfManifest({ ids: idsOf(fleet) }, manifest))
    }
    await fleet.redis.pass()
    // its end could not be written down; the event of it is repeated until it is
    await waitFor(async () => (await parts.status.get(during.id))?.status === 'succeeded')
    ids.push(during.id, meanwhile.id)
  }
  await endWell(fleet, all, crew, ids)
})

test('F15: Redis emptied in the middle of a job: every answer is right, and it can be canceled', async (t) => {
  const { all, redis, fleet, crew, address, untilStep } = await start(t)
  const finished = await submit(address, { prompt: '10ms' })
  await untilFinal(address, finished.id)
  const running = await submit(address, { prompt: '200ms', steps: 20 })
  const waiting = await submit(address, { prompt: '10ms' })
  await untilStep(running.id)
  await redis.cli('FLUSHALL')
  const statuses = async () =>
    Promise.all([finished, running, waiting].map(async ({ id }) => (await view(address, id)).status))
  const [first, second, third] = await statuses()
  assert.deepEqual([first, third], ['succeeded', 'queued'])
  assert.match(second ?? '', /queued|running/)
  // the worker reports its current job again
  await untilStep(running.id)

  await redis.cli('FLUSHALL')
  await cancelPatiently(address, running.id)
  assert.equal((await untilFinal(address, running.id)).status, 'canceled')
  assert.equal((await untilFinal(address, waiting.id)).status, 'succeeded')
  assert.deepEqual(await statuses(), ['succeeded', 'canceled', 'succeeded'])
  await endWell(fleet, all, crew, [finished.id, running.id, waiting.id])
})

test('F15: without Redis each server limits clients for itself, more strictly', async (t) => {
  const { fleet, address, crew } = await start(t, {
    PACKSHOT_JOBS_PER_MINUTE: '6',
    PACKSHOT_TRUSTED_PROXIES: '127.0.0.1',
  })
  let clients = 0
  const untilRefused = async () => {
    clients += 1
    const from = { 'x-forwarded-for': `203.0.113.${clients}` }
    const began = performance.now()
    for (let accepted = 0; ; accepted += 1) {
      const { status, body, retryAfter } = await post(address, { prompt: '10ms' }, from)
      if (status === 202) continue
      assert.deepEqual([status, body.error?.code], [429, 'rate_limited'])
      assert.ok(retryAfter >= 1 && retryAfter <= 60)
      return { accepted, seconds: (performance.now() - began) / 1000 }
    }
  }
  // On a busy machine Redis may count as unavailable for a moment, which the log tells: fewer are let in then, or those
  // that each counts for itself.
  const changes = () =>
    crew.servers[0]?.output().split(/limits callers on its own|across all servers again/).length
  await waitFor(async () => {
    const before = changes()
    const normal = await untilRefused()
    // one more is let in every ten seconds
    const most = 8 + normal.seconds / 10
    if (normal.accepted > most) {
      await waitFor(() => changes() !== before)
      return false
    }
    return normal.accepted >= 6
  })
  await fleet.redis.refuse()
  const alone = await untilRefused()
  assert.ok(alone.accepted >= 3 && alone.accepted <= 5 + alone.seconds / 20, `${alone.accepted} jobs at once`)
})

test('F16: Redis full: jobs are accepted, made and answered as if it were not there', async (t) => {
  const { all, redis, fleet, crew, address, parts, untilStep } = await start(t)
  const during = await submit(address, { prompt: '200ms', steps: 10 })
  await untilStep(during.id)
  await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  await redis.cli('CONFIG', 'SET', 'maxmemory', '1')
  const meanwhile = await submit(address, { prompt: '10ms' })
  const answers: JobView[] = []
  for (const { id } of [during, meanwhile]) answers.push(await untilFinal(address, id))
  assert.deepEqual(
    answers.map(({ status }) => status),
    ['succeeded', 'succeeded'],
  )
  await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
  const after = await submit(address, { prompt: '10ms' })
  await untilFinal(address, after.id)
  await waitFor(async () => (await parts.status.get(after.id))?.status === 'succeeded')
  await endWell(fleet, all, crew, [during.id, meanwhile.id, after.id])
})
