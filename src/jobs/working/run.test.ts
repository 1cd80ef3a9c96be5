import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { someManifest, someRequest, someTask, testIds } from '../../../test/contract/jobs.ts'
import {
  type Embedded,
  embedded,
  quickGenerator,
  runDeps,
  storageIsAway,
  submit,
  workUntil,
} from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { ConnectionLost } from '../connection-lost.ts'
import { AppError, type ErrorCode, errorTable } from '../errors.ts'
import { type JobEvent, taskVersion } from '../job.ts'
import type { Delivery } from '../ports.ts'
import { keptPreview } from '../previews.ts'
import { buryTask } from '../serving/bury.ts'
import { cancelJob } from '../serving/cancel.ts'
import { viewJob } from '../serving/job-view.ts'
import { newestPreview } from '../serving/newest-preview.ts'
import { withNotes } from '../serving/notes.ts'
import { stopJob } from '../serving/stop.ts'
import { type RunDeps, runTask } from './run.ts'

/**
 * The worker protocol, on the embedded adapters. Longer than most files: every step of the protocol has its faults, and all
 * of them share one set of parts.
 */

const statusOf = async (parts: Embedded, id: string) => (await viewJob(parts, id)).status
const isDone = (parts: Embedded) => async () => (await parts.queue.depth()) === 0

async function eventsOf(parts: Embedded): Promise<JobEvent[]> {
  const rows = parts.database.durable.prepare('SELECT message FROM events ORDER BY seq').all()
  return rows.map((row) => JSON.parse(String(row.message)) as JobEvent)
}

/** A delivery that records its ending. */
function recordedDelivery(message: unknown, counts: { attempt?: number; losses?: number } = {}) {
  const { attempt = 1, losses = 0 } = counts
  const endings: string[] = []
  const lost = new AbortController()
  const end = (what: string) => async () => void endings.push(what)
  const delivery: Delivery = {
    message,
    attempt,
    losses,
    lost: lost.signal,
    ack: end('ack'),
    retry: end('retry'),
    giveBack: end('giveBack'),
    dead: end('dead'),
  }
  return { delivery, endings, lose: (why: Error = new ConnectionLost()) => lost.abort(why) }
}

const never = new AbortController().signal

test('a job runs from request to pictures', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'a red apple', seed: 2 ** 32 - 1, count: 2 })
  await workUntil(parts, runDeps(parts), isDone(parts))
  const view = await viewJob(parts, id)
  assert.equal(view.status, 'succeeded')
  assert.deepEqual(
    view.images.map((image) => image.seed),
    [2 ** 32 - 1, 0],
  )
  assert.equal(String(await parts.images.getImage(id, 1, 'png')), 'picture of seed 0')
  assert.deepEqual(
    (await eventsOf(parts)).map((event) => [event.id, event.status]),
    [[id, 'succeeded']],
  )
})

test('progress is seen while a job runs, and the speed is known after it', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple', steps: 2 })
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const generator = quickGenerator(async (step) => {
    if (step < 2) return
    reached.resolve()
    await goOn.promise
  })
  const deps = runDeps(parts, { generator })
  const working = workUntil(parts, deps, isDone(parts))
  await reached.promise
  const view = await viewJob(parts, id)
  assert.deepEqual([view.status, view.progress, view.position], ['running', { step: 1, steps: 2 }, 0])
  assert.equal(typeof view.started_at, 'string')
  goOn.resolve()
  await working
  assert.ok((deps.speed.secondsPerUnit ?? 0) > 0)
})

test('the newest preview of a job is seen while it runs, and gone when it is final', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple', steps: 4, count: 2, previews: 2 })
  const goOn = Promise.withResolvers<void>()
  const generator = quickGenerator((step) => (step < 3 ? undefined : goOn.promise))
  const working = workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  await waitFor(async () => (await viewJob(parts, id)).preview?.index === 2)
  assert.equal(String((await newestPreview(parts, id))?.bytes), 'preview 2')
  goOn.resolve()
  await working
  assert.equal((await viewJob(parts, id)).preview, undefined)
  assert.equal(await newestPreview(parts, id), undefined)
  await waitFor(async () => (await keptPreview(parts.status, id)) === undefined)
})

test('an attempt that fails is repeated, and the job succeeds', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  let tries = 0
  const generator = quickGenerator((step) => {
    if (step === 2 && ++tries < 3) throw new Error('a passing fault')
  })
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  assert.equal(await statusOf(parts, id), 'succeeded')
  assert.equal((await parts.images.getManifest(id))?.attempts, 3)
})

test('after the last attempt the job is failed, with a reason and no inner detail', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  const generator = quickGenerator(() => {
    throw new AppError('generation_failed', 'The engine failed on this request.', { cause: 'secret' })
  })
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  const view = await viewJob(parts, id)
  const error = { code: 'generation_failed', message: 'The engine failed on this request.' }
  assert.deepEqual([view.status, view.error, view.images], ['failed', error, []])
  assert.deepEqual(
    (await eventsOf(parts)).map((event) => event.error),
    [error],
  )
})

test('an error that another attempt cannot mend fails the job at once', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  let tries = 0
  const generator = quickGenerator(() => {
    tries += 1
    throw new AppError('model_invalid', 'unet/model.safetensors is truncated.')
  })
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  assert.deepEqual([tries, (await viewJob(parts, id)).error?.code], [1, 'model_invalid'])
})

test('running out of memory is tried once more, then it is the job', async (t) => {
  const parts = embedded(t)
  let tries = 0
  const generator = quickGenerator(() => {
    tries += 1
    throw new AppError('out_of_memory', 'The picture needs more memory than the worker has.')
  })
  const { id } = await submit(parts, { prompt: 'an apple' })
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  assert.deepEqual([tries, (await viewJob(parts, id)).error?.code], [2, 'out_of_memory'])
})

test('a task that the queue gave up ends its job, once, with a reason', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  await parts.status.create(task)
  for (const reason of ['delivery_limit', 'delivery_limit']) await buryTask(parts, { message: task, reason })
  const { status, error } = await viewJob(parts, task.id)
  assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
  assert.deepEqual(
    (await eventsOf(parts)).map((event) => [event.id, event.status]),
    [
      [task.id, 'failed'],
      [task.id, 'failed'],
    ],
  )
  const done = someTask()
  await parts.images.commit(someManifest(done))
  await buryTask(parts, { message: done, reason: 'delivery_limit' })
  assert.equal((await viewJob(parts, done.id)).status, 'succeeded')
})

test('what is no task is buried without a word to anybody', async (t) => {
  const parts = embedded(t)
  for (const message of ['half of a ta', { v: 1, id: '../../etc' }, { ...someTask(), id: '../../etc' }]) {
    await buryTask(parts, { message, reason: 'foreign' })
  }
  assert.deepEqual(await eventsOf(parts), [])
  assert.equal(parts.log.lines.filter((line) => /not a task/.test(line.message)).length, 3)
})

test('a job that killed its worker too often is failed without another try', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const generator = quickGenerator(() => assert.fail('it was retried'))
  const { delivery, endings } = recordedDelivery(task, { losses: 3 })
  await runTask(runDeps(parts, { generator }), delivery, never)
  const manifest = await parts.images.getManifest(task.id)
  assert.deepEqual(
    [endings, manifest?.status, manifest?.error?.code],
    [['ack'], 'failed', 'generation_failed'],
  )
})

test('a job whose workers survived, because only their connections broke, is not taken for one that kills them', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const lost = async (losses: number, why: Error) => {
    const { delivery, lose } = recordedDelivery(task, { losses })
    await runTask(runDeps(parts, { generator: quickGenerator(() => lose(why)) }), delivery, never)
  }
  for (const losses of [0, 1]) await lost(losses, new ConnectionLost())
  await lost(2, new Error('too slow'))
  const { delivery } = recordedDelivery(task, { losses: 4 })
  await runTask(runDeps(parts), delivery, never)
  assert.equal((await parts.images.getManifest(task.id))?.status, 'succeeded')
  const last = someTask()
  await runTask(runDeps(parts), recordedDelivery(last, { losses: 3 }).delivery, never)
  assert.match((await parts.images.getManifest(last.id))?.error?.message ?? '', /3 times/)
})

test('a job that is final already is only announced again', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  await parts.images.commit(someManifest(task))
  const generator = quickGenerator(() => assert.fail('it was made again'))
  const { delivery, endings } = recordedDelivery(task, { losses: 9 })
  await runTask(runDeps(parts, { generator }), delivery, never)
  assert.deepEqual(endings, ['ack'])
  assert.deepEqual(
    (await eventsOf(parts)).map((event) => event.status),
    ['succeeded'],
  )
})

test('a job past its time is not made', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  parts.clock.ahead = 3_600_001
  const generator = quickGenerator(() => assert.fail('it was made'))
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  await assert.rejects(viewJob(parts, id), { code: 'expired' })
  assert.deepEqual(
    (await eventsOf(parts)).map((event) => event.status),
    ['expired'],
  )
})

test('a task under the id of a job that is not its own is dropped, and the job is made', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'a red apple' })
  const state = await parts.status.get(id)
  assert.ok(state)
  const forged = someTask({ id, request: { ...state.request, prompt: 'a forgery' } })
  const { delivery, endings } = recordedDelivery(forged)
  await runTask(runDeps(parts), delivery, never)
  assert.deepEqual(endings, ['ack'])
  await workUntil(parts, runDeps(parts), isDone(parts))
  const { status, request } = await viewJob(parts, id)
  assert.deepEqual([status, request?.prompt], ['succeeded', 'a red apple'])
})

const day = 24 * 3_600_000

test('what is no task is parked; a newer version waits for a newer worker', async (t) => {
  const parts = embedded(t)
  const messages: [unknown, string][] = [
    ['{"half', 'dead'],
    [null, 'dead'],
    [{}, 'dead'],
    [{ ...someTask(), id: 5 }, 'dead'],
    [{ ...someTask(), v: taskVersion + 1 }, 'giveBack'],
    [{ ...someTask(), v: 1e9 }, 'giveBack'],
    [{ ...someTask({ expires_at: new Date(0).toISOString() }), v: taskVersion + 1 }, 'dead'],
    [{ ...someTask({ expires_at: 'someday' }), v: taskVersion + 1 }, 'dead'],
    [{ ...someTask({ id: testIds.issue(new Date(Date.now() - 8 * day)) }), v: taskVersion + 1 }, 'dead'],
    [{ v: taskVersion + 1 }, 'dead'],
    [someTask({ request: someRequest({ init_image: '../../etc' }) }), 'dead'],
  ]
  for (const [message, ending] of messages) {
    const { delivery, endings } = recordedDelivery(message)
    await runTask(runDeps(parts), delivery, never)
    assert.deepEqual(endings, [ending])
  }
})

test('a queued job is canceled at once, a running one at its next step', async (t) => {
  const parts = embedded(t)
  const queued = await submit(parts, { prompt: 'an apple' })
  assert.equal((await cancelJob(parts, queued.id)).status, 'canceled')
  assert.equal(await parts.queue.depth(), 0)

  const { id } = await submit(parts, { prompt: 'an apple', steps: 100 })
  const started = Promise.withResolvers<void>()
  let last = 0
  const generator = quickGenerator(async (step) => {
    last = step
    started.resolve()
    await new Promise((resolve) => setTimeout(resolve, 20))
  })
  const working = workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  await started.promise
  const canceled = await cancelJob(parts, id)
  await working
  assert.ok(last < 100, `it went on to step ${last}`)
  assert.deepEqual(await viewJob(parts, id), canceled)
  assert.deepEqual([canceled.status, canceled.images], ['canceled', []])
  assert.deepEqual(await cancelJob(parts, id), canceled)
})

test('a running job of several pictures ends with those that are done; with none it is canceled', async (t) => {
  const parts = embedded(t)
  for (const [until, status, done] of [
    [2, 'succeeded', 2],
    [0, 'canceled', 0],
  ] as const) {
    const { id } = await submit(parts, { prompt: 'an apple', steps: 10, count: 4 })
    const reached = Promise.withResolvers<void>()
    const generator = quickGenerator(async () => {
      if (until > 0) return
      reached.resolve()
      await new Promise((resolve) => setTimeout(resolve, 20))
    })
    /** Held until it is stopped. */
    const held: RunDeps['generator'] = {
      ...generator,
      async *generate(request, options) {
        let made = 0
        for await (const picture of generator.generate(request, options)) {
          yield picture
          made += 1
          if (made < until) continue
          reached.resolve()
          await new Promise((_, reject) => {
            options.signal.addEventListener('abort', () => reject(options.signal.reason))
          })
        }
      },
    }
    const deps = runDeps(parts, { generator: until === 0 ? generator : held })
    const working = workUntil(parts, deps, isDone(parts))
    await reached.promise
    assert.equal((await stopJob(parts, id)).status, 'running')
    await working
    const view = await viewJob(parts, id)
    assert.deepEqual([view.status, view.images.length, view.request?.count], [status, done, 4])
    assert.deepEqual(await stopJob(parts, id), view)
    const notes = withNotes(view, parts.offer()).notes ?? []
    assert.equal(notes.includes('It was stopped: 2 of 4 pictures are done.'), done === 2)
  }
  const waiting = await submit(parts, { prompt: 'an apple', count: 4 })
  assert.equal((await stopJob(parts, waiting.id)).status, 'canceled')
})

test('a job that is finished stays finished when it is canceled', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  await workUntil(parts, runDeps(parts), isDone(parts))
  assert.equal((await cancelJob(parts, id)).status, 'succeeded')
})

test('a job whose status is forgotten can be canceled, and is answered right', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  parts.database.durable.exec('DELETE FROM states')
  assert.equal(await statusOf(parts, id), 'queued')
  assert.equal((await cancelJob(parts, id)).status, 'queued')
  await workUntil(parts, runDeps(parts), isDone(parts))
  assert.equal(await statusOf(parts, id), 'canceled')
  parts.database.durable.exec('DELETE FROM states')
  assert.equal(await statusOf(parts, id), 'canceled')
})

test('a worker that stops gives its job back without an attempt counted', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  const stopping = new AbortController()
  const generator = quickGenerator(() => stopping.abort())
  const consumer = await parts.queue.consume((delivery) =>
    stopping.signal.aborted
      ? delivery.giveBack(60_000)
      : runTask(runDeps(parts, { generator }), delivery, stopping.signal),
  )
  await waitFor(async () => stopping.signal.aborted)
  await consumer.stop()
  parts.database.durable.exec('UPDATE tasks SET due_at = 0')
  await workUntil(parts, runDeps(parts), isDone(parts))
  assert.equal((await parts.images.getManifest(id))?.attempts, 1)
})

test('a picture is kept while storage is away for a moment', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  let [faults, made] = [0, 0]
  const images: typeof parts.images = {
    ...parts.images,
    putImage: async (...picture) => (++faults < 4 ? storageIsAway() : parts.images.putImage(...picture)),
  }
  const generator = quickGenerator((step) => {
    if (step === 1) made += 1
  })
  const deps = runDeps(parts, {
    images,
    generator,
    storageRetry: { budgetMs: 30_000, firstMs: 1, longestMs: 2 },
  })
  await workUntil(parts, deps, isDone(parts))
  assert.deepEqual([made, await statusOf(parts, id)], [1, 'succeeded'])
})

test('a job is never failed because storage is away: it comes back, uncounted', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const images: typeof parts.images = { ...parts.images, commit: async () => storageIsAway() }
  const { delivery, endings } = recordedDelivery(task, { attempt: 3 })
  await runTask(runDeps(parts, { images }), delivery, never)
  assert.deepEqual(endings, ['giveBack'])
  assert.equal(await parts.images.getManifest(task.id), undefined)
})

test('a broker that is away when the pictures are made is no failed attempt', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const events: typeof parts.events = { ...parts.events, publish: async () => storageIsAway() }
  const { delivery, endings } = recordedDelivery(task, { attempt: 2 })
  await runTask(runDeps(parts, { events }), delivery, never)
  assert.deepEqual(endings, ['giveBack'])
  assert.equal((await parts.images.getManifest(task.id))?.status, 'succeeded')
})

test('statuses that cannot be written do not stop a job, and its event mends them', async (t) => {
  const parts = embedded(t)
  const status: typeof parts.status = {
    ...parts.status,
    create: async () => storageIsAway(),
    get: async () => storageIsAway(),
    advance: async () => storageIsAway(),
  }
  const { id } = await submit(parts, { prompt: 'an apple' })
  await workUntil(parts, runDeps(parts, { status }), isDone(parts))
  assert.equal((await parts.images.getManifest(id))?.status, 'succeeded')
  const consumer = await parts.events.consume(({ id: job, status: final }) =>
    parts.status.advance(job, { status: final }),
  )
  await waitFor(async () => (await statusOf(parts, id)) === 'succeeded')
  await consumer.stop()
})

test('a job that runs is told to run though writing that failed, and again to a store that was wiped', async (t) => {
  const parts = embedded(t)
  let failures = 2
  const status: typeof parts.status = {
    ...parts.status,
    advance: async (id, update) => {
      if (update.status === 'running' && failures-- > 0) return storageIsAway()
      return parts.status.advance(id, update)
    },
  }
  const { id } = await submit(parts, { prompt: 'an apple', steps: 3 })
  const goOn = Promise.withResolvers<void>()
  const generator = quickGenerator((step) => (step === 2 ? goOn.promise : undefined))
  const working = workUntil(parts, runDeps(parts, { generator, status }), isDone(parts))
  const runs = async () => {
    const { status, progress, started_at } = await viewJob(parts, id)
    return status === 'running' && progress?.step === 1 && started_at !== undefined
  }
  await waitFor(runs)
  await parts.status.forget(id)
  await waitFor(runs)
  goOn.resolve()
  await working
  assert.equal(await statusOf(parts, id), 'succeeded')
})

test('a lost task is left to the worker that has it now', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const { delivery, endings, lose } = recordedDelivery(task)
  await runTask(runDeps(parts, { generator: quickGenerator(() => lose()) }), delivery, never)
  assert.deepEqual(endings, [])
  assert.equal(await parts.images.getManifest(task.id), undefined)
})

test('an attempt without progress, and one that takes too long, end as `timeout`', async (t) => {
  for (const limit of [{ stallMs: 30 }, { attemptMs: 60 }]) {
    const parts = embedded(t)
    const { id } = await submit(parts, { prompt: 'an apple', steps: 100 })
    const pause = 'stallMs' in limit ? 200 : 10
    const generator = quickGenerator(() => new Promise((resolve) => setTimeout(resolve, pause)))
    const deps = runDeps(parts, { generator })
    await workUntil(parts, { ...deps, limits: { ...deps.limits, ...limit } }, isDone(parts))
    assert.equal((await viewJob(parts, id)).error?.code, 'timeout')
  }
})

test('an attempt that takes too long is not repeated; one without progress is', async (t) => {
  for (const [limit, pause, attempts] of [
    [{ attemptMs: 60 }, 10, 1],
    [{ attemptMs: 60 }, 300, 3],
    [{ stallMs: 30 }, 300, 3],
  ] as const) {
    const parts = embedded(t)
    const { id } = await submit(parts, { prompt: 'an apple', steps: 100 })
    const generator = quickGenerator(() => new Promise((resolve) => setTimeout(resolve, pause)))
    const deps = runDeps(parts, { generator })
    await workUntil(parts, { ...deps, limits: { ...deps.limits, ...limit } }, isDone(parts))
    assert.equal((await parts.images.getManifest(id))?.attempts, attempts)
  }
})

test('a job that cannot end in time is ended as soon as its pace is known', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple', steps: 100, count: 4 })
  let steps = 0
  const generator = quickGenerator(async () => {
    steps += 1
    await new Promise((resolve) => setTimeout(resolve, 100))
  })
  const deps = runDeps(parts, { generator })
  await workUntil(parts, { ...deps, limits: { ...deps.limits, attemptMs: 10_000 } }, isDone(parts))
  const { error } = await viewJob(parts, id)
  assert.equal(error?.code, 'timeout')
  assert.match(error?.message ?? '', /^The job would take about \d+ seconds, but may take 10\.$/)
  assert.ok(steps < 50, `${steps} of 400 steps`)
})

test('the speed of a worker is that of its steps, and not known after the first job of one step', async (t) => {
  const parts = embedded(t)
  const deps = runDeps(parts, {
    generator: quickGenerator(
      (step) => new Promise((resolve) => setTimeout(resolve, step === 1 ? 3000 : 20)),
    ),
  })
  await submit(parts, { prompt: 'an apple', steps: 1 })
  await workUntil(parts, deps, isDone(parts))
  assert.equal(deps.speed.secondsPerUnit, undefined)
  await submit(parts, { prompt: 'an apple', steps: 4, width: 512, height: 512 })
  await workUntil(parts, deps, isDone(parts))
  const unitsPerStep = (2 * 512 * 512) / 1e6
  const seconds = (deps.speed.secondsPerUnit ?? 0) * unitsPerStep
  assert.ok(seconds >= 0.01 && seconds < 0.9, `${seconds} s a step`)
})

test('an engine that makes too few pictures is at fault', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple', count: 2 })
  const generator = { ...quickGenerator(), async *generate() {} }
  await workUntil(parts, runDeps(parts, { generator }), isDone(parts))
  assert.equal((await viewJob(parts, id)).error?.code, 'generation_failed')
})

test('a job gets as many attempts as the table gives the error, and one that will pass costs none', async (t) => {
  const parts = embedded(t)
  for (const [code, { attempts }] of Object.entries(errorTable)) {
    const generator = quickGenerator(() => {
      throw new AppError(code as ErrorCode, 'It failed.')
    })
    const endings: string[] = []
    for (const attempt of [1, 2, 3]) {
      const recorded = recordedDelivery(someTask(), { attempt })
      await runTask(runDeps(parts, { generator }), recorded.delivery, never)
      endings.push(...recorded.endings)
    }
    const expected = [1, 2, 3].map((attempt) => {
      if (attempts === 'until it works') return 'giveBack'
      return attempt < attempts ? 'retry' : 'ack'
    })
    assert.deepEqual(endings, expected, code)
  }
})

test('a task published twice and worked on twice has one result', async (t) => {
  const parts = embedded(t)
  const task = someTask()
  const [one, two] = [recordedDelivery(task), recordedDelivery(task)]
  await Promise.all([one, two].map(({ delivery }) => runTask(runDeps(parts), delivery, never)))
  assert.deepEqual([one.endings, two.endings], [['ack'], ['ack']])
  const file = join(parts.folder, 'results', task.created_at.slice(0, 10), task.id, 'manifest.json')
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), await parts.images.getManifest(task.id))
})

test('storage is asked for a result only where there may be one', async (t) => {
  const parts = embedded(t)
  const run = async (options: { attempt?: number; losses?: number; known?: boolean; final?: boolean }) => {
    const task = someTask()
    if (options.known !== false) await parts.status.create(task)
    if (options.final) await parts.status.advance(task.id, { status: 'succeeded' })
    let asked = 0
    const images: RunDeps['images'] = {
      ...parts.images,
      getManifest(id) {
        asked += 1
        return parts.images.getManifest(id)
      },
    }
    const { delivery, endings } = recordedDelivery(task, options)
    await runTask({ ...runDeps(parts), images }, delivery, never)
    assert.deepEqual(endings, ['ack'])
    return asked
  }
  assert.equal(await run({}), 0)
  for (const options of [{ attempt: 2 }, { losses: 1 }, { known: false }, { final: true }]) {
    assert.equal(await run(options), 1, JSON.stringify(options))
  }
})

/** The steps of the protocol, each as a way to die just before or just after it. */
const deaths: [string, (parts: Embedded, die: () => Promise<never>) => Partial<RunDeps>][] = [
  ['before a picture is stored', ({ images }, die) => ({ images: { ...images, putImage: die } })],
  [
    'after a picture is stored',
    ({ images }, die) => ({
      images: {
        ...images,
        async putImage(...picture) {
          await images.putImage(...picture)
          return die()
        },
      },
    }),
  ],
  ['before the commit', ({ images }, die) => ({ images: { ...images, commit: die } })],
  [
    'after the commit',
    ({ images }, die) => ({
      images: {
        ...images,
        async commit(manifest) {
          await images.commit(manifest)
          return die()
        },
      },
    }),
  ],
  ['before the event', ({ events }, die) => ({ events: { ...events, publish: die } })],
  [
    'after the event',
    ({ events }, die) => ({
      events: {
        ...events,
        async publish(event) {
          await events.publish(event)
          return die()
        },
      },
    }),
  ],
]

for (const [when, deadly] of deaths) {
  test(`a worker that dies ${when} leaves a job that the next one finishes, once`, async (t) => {
    const parts = embedded(t)
    const task = someTask()
    await parts.status.create(task)
    const died = Promise.withResolvers<void>()
    const buried = Promise.withResolvers<never>()
    const die = () => {
      died.resolve()
      return buried.promise
    }
    const first = recordedDelivery(task)
    const dying = runTask(runDeps(parts, deadly(parts, die)), first.delivery, never)
    await died.promise
    assert.deepEqual(first.endings, [])

    const second = recordedDelivery(task, { losses: 1 })
    await runTask(runDeps(parts), second.delivery, never)
    assert.deepEqual(second.endings, ['ack'])
    const view = await viewJob(parts, task.id)
    assert.deepEqual([view.status, view.images.length], ['succeeded', 1])
    const bytes = await parts.images.getImage(task.id, 0, 'png')
    assert.equal(
      createHash('sha256')
        .update(bytes ?? '')
        .digest('hex'),
      view.images[0]?.sha256,
    )
    const events = await eventsOf(parts)
    assert.ok(events.length >= 1)
    assert.ok(events.every(({ id, status }) => id === task.id && status === 'succeeded'))

    first.lose()
    buried.reject(new Error('dead'))
    await dying
    assert.deepEqual(first.endings, [])
  })
}
