import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Embedded,
  embedded,
  runDeps,
  storageIsAway,
  submit,
  workUntil,
} from '../../../test/jobs/embedded.ts'
import { memoryRateLimiter } from '../../adapters/memory/rate-limiter.ts'
import { anonymousCaller, type CallerLimits } from '../caller.ts'
import { AppError } from '../errors.ts'
import { cancelJob } from './cancel.ts'
import { deleteJob } from './delete.ts'
import { viewJob } from './job-view.ts'
import { watchSpace } from './space.ts'

const apple = { prompt: 'a red apple' }
/** The work of `apple`: 4 steps with guidance at 256x256. */
const units = (4 * 2 * 256 * 256) / 1e6

const caller = (limits: CallerLimits, address = '192.0.2.1') => anonymousCaller(address, limits)
const refused = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof AppError && error.code === 'rate_limited', String(error))
  assert.match(error.message, message)
  assert.ok((error.retryAfterSeconds ?? 0) >= 1)
  return true
}

async function workAll(parts: Embedded) {
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
}

test('a caller has so many unfinished jobs, and is told which limit it reached; others are not kept out', async (t) => {
  const parts = embedded(t)
  const few = caller({ unfinished: { jobs: 2 } })
  for (let count = 0; count < 2; count++) await submit(parts, apple, { caller: few })
  const message =
    /^You have 2 jobs that wait or run, the maximum for one caller \(2\)\. Try again in \d+ seconds, or cancel some\.$/
  await assert.rejects(submit(parts, apple, { caller: few }), refused(message))
  await submit(parts, apple, { caller: caller({ unfinished: { jobs: 2 } }, '192.0.2.2') })
  await workAll(parts)
  await submit(parts, apple, { caller: few })
})

test('while nobody can count unfinished jobs, a rate of as many takes their place', async (t) => {
  const parts = embedded(t)
  const status = { ...parts.status, reserve: storageIsAway }
  const few = caller({ unfinished: { jobs: 2 } })
  for (let count = 0; count < 2; count++) await submit({ ...parts, status }, apple, { caller: few })
  await assert.rejects(
    submit({ ...parts, status }, apple, { caller: few }),
    refused(/2 jobs while their end cannot be counted/),
  )
  await submit(parts, apple, { caller: caller({ unfinished: { units: 100 } }) })
})

test('the work of unfinished jobs is limited, and one job is always allowed', async (t) => {
  const parts = embedded(t)
  const little = caller({ unfinished: { units: 3 * units } })
  await submit(parts, { ...apple, steps: 40 }, { caller: little })
  await assert.rejects(
    submit(parts, apple, { caller: little }),
    refused(/1 jobs of 6 units of work that wait or run/),
  )
  await workAll(parts)
  await Promise.all([1, 2, 3].map(() => submit(parts, apple, { caller: little })))
  await assert.rejects(
    submit(parts, apple, { caller: little }),
    refused(/they would exceed the maximum for one caller/),
  )
})

test('many requests at once get no more than the limit', async (t) => {
  const parts = embedded(t)
  const few = caller({ unfinished: { jobs: 3 } })
  const answers = await Promise.allSettled(
    Array.from({ length: 10 }, () => submit(parts, apple, { caller: few })),
  )
  assert.equal(answers.filter(({ status }) => status === 'fulfilled').length, 3)
  assert.equal(await parts.queue.depth(), 3)
})

test('work is counted in units, and given back when nothing was accepted', async (t) => {
  const parts = embedded(t)
  const burst = 10.5 * units
  const deps = { ...parts, limiter: memoryRateLimiter({ now: () => 0 }) }
  const busy = caller({ work: { perMinute: 1, burst }, unfinished: { jobs: 2 } })
  const queue = {
    ...parts.queue,
    async publish() {
      throw new AppError('unavailable', 'The queue is away.')
    },
  }
  for (let count = 0; count < 5; count++) {
    await assert.rejects(submit({ ...deps, queue }, { ...apple, steps: 40 }, { caller: busy }), {
      code: 'unavailable',
    })
  }
  await submit(deps, { ...apple, steps: 40 }, { caller: busy })
  await assert.rejects(submit(deps, apple, { caller: busy }), refused(/units of work per hour\)/))
  await submit(deps, { ...apple, steps: 2 }, { caller: busy })
})

test('a request that is repeated with its key is not counted, one that is refused is', async (t) => {
  const parts = embedded(t)
  const limiter = memoryRateLimiter({ now: () => 0 })
  const deps = { ...parts, limiter }
  const few = caller({ rate: { perMinute: 1, burst: 2 } })
  const options = { caller: few, idempotencyKey: 'order-1-of-a-customer' }
  const { id } = await submit(deps, apple, options)
  for (let count = 0; count < 5; count++) assert.equal((await submit(deps, apple, options)).id, id)
  await assert.rejects(submit(deps, { prompt: '' }, { caller: few }), { code: 'invalid_request' })
  await assert.rejects(submit(deps, apple, { caller: few }), refused(/2 jobs and uploads at once/))
  assert.equal((await submit(deps, apple, options)).id, id)
})

test('a job that no attempt could finish is refused, with how long it would take', async (t) => {
  const parts = embedded(t)
  const deps = { ...parts, attemptSeconds: 60 }
  await submit(deps, { ...apple, steps: 100, count: 4 })
  await parts.status.heartbeat('worker', 20)
  const message =
    /^The job would take about 17 minutes at the speed measured here, but may take 60 seconds\. Lower steps/
  await assert.rejects(submit(deps, { ...apple, steps: 100, count: 4 }), {
    code: 'invalid_request',
    param: 'steps',
    message,
  })
  await submit(deps, apple)
})

test('pictures and uploads have bounds in bytes, for one caller and for all', async (t) => {
  const parts = embedded(t)
  const limits = { uploads: 3000, results: 500_000, free: 0 }
  const deps = { ...parts, space: watchSpace(parts, limits) }
  await submit(deps, apple)
  await submit(deps, { ...apple, format: 'jpeg' })
  await assert.rejects(submit(deps, { ...apple, count: 2 }), {
    code: 'storage_full',
    message: /^All results together may take/,
  })
  assert.equal(await parts.queue.depth(), 2)
  await deps.space.take('uploads', 3000)
  await assert.rejects(deps.space.take('uploads', 1), { code: 'storage_full' })
  const one = caller({ resultBytes: { perMinute: 1, burst: 256 * 256 * 3 } })
  await submit(parts, apple, { caller: one })
  await assert.rejects(
    submit(parts, { ...apple, width: 64, height: 64 }, { caller: one }),
    refused(/MB of pictures/),
  )
})

test('with too little free space nothing new is accepted, and room that was made is noticed', async (t) => {
  const parts = embedded(t)
  let free = 1000
  let stored = 4000
  const images = {
    ...parts.images,
    freeBytes: async () => free,
    measure: async () => ({ uploads: stored, results: 0 }),
  }
  const space = watchSpace({ ...parts, images }, { uploads: 5000, results: 0, free: 900 })
  await space.take('uploads', 100)
  await assert.rejects(space.take('uploads', 101), { code: 'storage_full', message: /too little free space/ })
  free = 10_000
  await assert.rejects(space.take('uploads', 2000), { code: 'storage_full', message: /together/ })
  stored = 0
  const later = watchSpace({ ...parts, images }, { uploads: 5000, results: 0, free: 900 })
  await later.take('uploads', 4000)
})

test('a job that is canceled before a worker had it leaves one row, and no files', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  assert.equal((await cancelJob(parts, id)).status, 'canceled')
  assert.deepEqual(await parts.images.measure(), { uploads: 0, results: 0 })
  assert.deepEqual([(await viewJob(parts, id)).status, await parts.queue.depth()], ['canceled', 0])
  assert.equal((await cancelJob(parts, id)).status, 'canceled')
  assert.equal((await deleteJob(parts, id)).request, undefined)
  await assert.rejects(viewJob(parts, id), { code: 'deleted' })
})
