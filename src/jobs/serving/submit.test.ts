import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { collect } from '../../../test/contract/task-queue.ts'
import {
  type Embedded,
  embedded,
  runDeps,
  storageIsAway,
  submit,
  workUntil,
} from '../../../test/jobs/embedded.ts'
import { standInModel, standInOffer } from '../../../test/stand-in/engine.ts'
import { anonymousCaller, type Caller } from '../caller.ts'
import { type Task, versionOf } from '../job.ts'
import { isTask } from '../task-check.ts'
import { viewJob } from './job-view.ts'
import { getPicture } from './picture.ts'

/** Accepting requests. Longer than most files: one place shows every promise of an acceptance, and every refusal. */

const apple = { prompt: 'a red apple' }

test('an accepted job has an id, a place, and a time to ask again', async (t) => {
  const parts = embedded(t)
  await parts.status.heartbeat('worker', 10)
  const first = await submit(parts, apple)
  const second = await submit(parts, apple)
  assert.deepEqual([first.status, first.position, second.position], ['queued', 0, 1])
  assert.deepEqual(first.links, { self: `/v1/jobs/${first.id}` })
  assert.ok((second.eta_seconds ?? 0) > (first.eta_seconds ?? 0))
  assert.ok((second.poll_after_ms ?? 0) >= (first.poll_after_ms ?? 0))
  assert.equal(Date.parse(first.expires_at) - Date.parse(first.created_at), 3_600_000)
})

test('a request that is refused leaves nothing behind', async (t) => {
  const parts = embedded(t)
  await assert.rejects(submit(parts, { prompt: '' }), { code: 'invalid_request', param: 'prompt' })
  assert.equal(await parts.queue.depth(), 0)
})

test('a prompt that costs too much is refused with the limit and what was given, before anything is queued', async (t) => {
  const parts = embedded(t)
  const limit = (param: string, given: RegExp) => ({ code: 'invalid_request', param, message: given })
  const rule = 'at most 16 windows of 75 tokens \\(BREAK begins a new one\\)'
  const windows = (param: string, count: number) =>
    limit(param, new RegExp(`^${param} must have ${rule}, but had ${count}\\. Shorten it\\.$`))
  await assert.rejects(submit(parts, { prompt: 'BREAK '.repeat(333) }), windows('prompt', 333))
  const negative_prompt = `${'a BREAK '.repeat(16)}b`
  await assert.rejects(submit(parts, { ...apple, negative_prompt }), windows('negative_prompt', 17))
  await submit(parts, { ...apple, negative_prompt, guidance_scale: 1 })
  await submit(parts, { prompt: `${'a BREAK '.repeat(15)}b` })
  for (const [prompt, given] of [
    [`(apple:1${'0'.repeat(40)})`, '1e\\+40'],
    ['((apple:20):-20)', '400'],
    [`(apple:1${'0'.repeat(400)})`, 'beyond any number'],
  ]) {
    const message = new RegExp(
      `^prompt must give its words weights from -100 to 100 .*, but one was ${given}\\.$`,
    )
    await assert.rejects(submit(parts, { prompt }), limit('prompt', message))
  }
  assert.equal(await parts.queue.depth(), 2)
})

test('work counts what makes a picture slow: guidance, calls of the sampler, windows', async (t) => {
  const parts = embedded(t)
  const offer = {
    ...standInOffer,
    samplers: {
      ...standInOffer.samplers,
      of: () => standInOffer.samplers.of(standInModel).map((each) => ({ ...each, calls_per_step: 2 })),
    },
  }
  const unitsOfJob = async (body: object) => {
    const { id } = await submit({ ...parts, offer: () => offer }, body)
    return (await parts.status.get(id))?.units
  }
  const alone = (4 * 256 * 256) / 1e6
  assert.equal(await unitsOfJob({ ...apple, guidance_scale: 1 }), 2 * alone)
  assert.equal(await unitsOfJob(apple), 4 * alone)
  assert.equal(await unitsOfJob({ ...apple, count: 3, steps: 8 }), 24 * alone)
  assert.ok(((await unitsOfJob({ prompt: 'a BREAK b' })) ?? 0) > 4 * alone)
})

test('a full queue says when to come back, and accepted nothing', async (t) => {
  const parts = embedded(t, { queueMax: 1 })
  await submit(parts, apple)
  await assert.rejects(submit(parts, apple), (error: { code: string; retryAfterSeconds: number }) => {
    assert.equal(error.code, 'queue_full')
    assert.ok(error.retryAfterSeconds >= 5)
    return true
  })
  assert.equal(await parts.queue.depth(), 1)
})

test('a queue that cannot be written accepts nothing', async (t) => {
  const parts = embedded(t)
  const queue = { ...parts.queue, publish: async () => storageIsAway() }
  await assert.rejects(submit({ ...parts, queue }, apple), { code: 'unavailable' })
})

test('a job is accepted when only its status cannot be written', async (t) => {
  const parts = embedded(t)
  const status = { ...parts.status, create: async () => storageIsAway() }
  const { id } = await submit({ ...parts, status }, apple)
  const view = await viewJob(parts, id)
  assert.deepEqual([view.status, view.position, view.request], ['queued', undefined, undefined])
})

test('a key gives the same job to the same request, before and after it is made', async (t) => {
  const parts = embedded(t)
  const first = await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })
  const second = await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })
  assert.equal(second.id, first.id)
  assert.deepEqual(second.request, first.request)
  assert.equal(await parts.queue.depth(), 1)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const third = await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })
  assert.deepEqual([third.id, third.status], [first.id, 'succeeded'])
  const other = await submit(parts, apple, { idempotencyKey: 'order-2-of-a-customer' })
  assert.notEqual(other.id, first.id)
})

test('a key lives over the end of its hour', async (t) => {
  const parts = embedded(t)
  const hour = 3_600_000
  parts.clock.ahead = hour - (Date.now() % hour) - 1
  const first = await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })
  parts.clock.ahead += 60_000
  assert.equal((await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })).id, first.id)
})

test('a key of another request, and a key of odd characters, are refused', async (t) => {
  const parts = embedded(t)
  await submit(parts, apple, { idempotencyKey: 'order-1-of-a-customer' })
  const reused = { code: 'idempotency_key_reused', param: 'Idempotency-Key' }
  await assert.rejects(
    submit(parts, { prompt: 'a pear' }, { idempotencyKey: 'order-1-of-a-customer' }),
    reused,
  )
  const refused = { code: 'invalid_request', param: 'Idempotency-Key' }
  for (const key of ['', 'order-1', 'with a space in it', 'an é and others too', 'x'.repeat(256)]) {
    await assert.rejects(submit(parts, apple, { idempotencyKey: key }), refused)
  }
})

/** Of two requests with one key at the same moment one is accepted, and gets the picture of its own words. */
async function race(deps: Embedded, parts: Embedded) {
  const idempotencyKey = 'both-at-the-same-moment'
  const prompts = ['a red apple', 'a green bottle']
  const answers = await Promise.allSettled(
    prompts.map((prompt) => submit(deps, { prompt }, { idempotencyKey })),
  )
  const accepted = answers.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const refused = answers.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []))
  assert.deepEqual([accepted.length, refused], [1, ['idempotency_key_reused']])
  const [view] = accepted
  assert.ok(view)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const done = await viewJob(parts, view.id)
  assert.deepEqual([done.status, done.request?.prompt], ['succeeded', view.request?.prompt])
}

test('of two requests with one key at the same moment, one is refused', async (t) => {
  const parts = embedded(t)
  await race(parts, parts)
})

test('the same where the queue cannot tell them apart, whichever is delivered first', async (t) => {
  for (const order of [1, -1]) {
    const parts = embedded(t)
    // as in a broker: both are published, and any of them may be delivered first
    const published: Task[] = []
    const both = Promise.withResolvers<void>()
    const queue = {
      ...parts.queue,
      async publish(task: Task) {
        published.push(task)
        if (published.length === 2) both.resolve()
        await both.promise
      },
    }
    const insert = parts.database.durable.prepare('INSERT INTO tasks (id, message, due_at) VALUES (?, ?, 0)')
    const working = { ...parts, queue }
    const put = both.promise.then(() => {
      const tasks = order === 1 ? published : published.toReversed()
      for (const [index, task] of tasks.entries()) insert.run(`${task.id} ${index}`, JSON.stringify(task))
    })
    await race(working, parts)
    await put
  }
})

test('a key finds its job when the offer changed meanwhile, and belongs to its caller', async (t) => {
  const parts = embedded(t)
  const key = { idempotencyKey: 'order-1-of-a-customer' }
  const first = await submit(parts, apple, key)
  const models = [{ ...standInModel, steps: 9 }]
  assert.equal(
    (await submit({ ...parts, offer: () => ({ ...standInOffer, models }) }, apple, key)).id,
    first.id,
  )
  const spelled = { ...apple, steps: 4 }
  await assert.rejects(submit(parts, spelled, key), { code: 'idempotency_key_reused' })
  const other = await submit(parts, apple, { ...key, caller: anonymousCaller('192.0.2.1') })
  assert.notEqual(other.id, first.id)
  assert.notEqual(other.request?.seed, first.request?.seed)
})

test('an id is unknown, waiting, or expired, whatever the stores know', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  for (const other of [
    '',
    'x',
    `${id}0`,
    id.slice(1),
    id.toUpperCase(),
    `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`,
  ]) {
    await assert.rejects(viewJob(parts, other), { code: 'not_found' })
  }
  parts.database.durable.exec('DELETE FROM states')
  assert.equal((await viewJob(parts, id)).status, 'queued')
  parts.clock.ahead = 3_600_001
  await assert.rejects(viewJob(parts, id), { code: 'expired' })
})

test('a finished job is expired when its time is over, swept or not', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const { body } = await (await getPicture(parts, id, 0)).open()
  assert.ok(body instanceof Readable)
  assert.match(await text(body), /^picture of seed/)
  parts.clock.ahead = 3_600_001
  await assert.rejects(viewJob(parts, id), { code: 'expired' })
  await assert.rejects(getPicture(parts, id, 0), { code: 'expired' })
  assert.equal(await parts.images.sweep(parts.now()), 1)
  await parts.status.sweep(parts.now())
  await assert.rejects(viewJob(parts, id), { code: 'expired' })
  await assert.rejects(submit({ ...parts }, { prompt: 5 }), { code: 'invalid_request' })
})

test('waiting asks the image store nothing, however often a client asks', async (t) => {
  const parts = embedded(t)
  const asked: string[] = []
  const spy =
    <A extends unknown[], R>(name: string, action: (...args: A) => R) =>
    (...args: A) => {
      asked.push(name)
      return action(...args)
    }
  const images = { ...parts.images, getManifest: spy('manifest', parts.images.getManifest) }
  const deps = { ...parts, images }
  const { id } = await submit(deps, { prompt: 'an apple' })
  for (let poll = 0; poll < 5; poll += 1) await viewJob(deps, id)
  await parts.status.advance(id, { status: 'running', progress: { step: 1, steps: 4 } })
  for (let poll = 0; poll < 5; poll += 1) await viewJob(deps, id)
  assert.deepEqual(asked, [])
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  assert.equal((await viewJob(deps, id)).status, 'succeeded')
  assert.deepEqual(asked, ['manifest'])
})

test('a job that was published is accepted, whatever else is away', async (t) => {
  const parts = embedded(t)
  const status = { ...parts.status, create: async () => storageIsAway(), get: async () => storageIsAway() }
  const images = { ...parts.images, getManifest: async () => storageIsAway() }
  const view = await submit({ ...parts, status, images }, { prompt: 'an apple' })
  assert.deepEqual([view.status, await parts.queue.depth()], ['queued', 1])
})

test('a status store in doubt is no proof that a job is unfinished', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  const deps = { ...parts, status: { ...parts.status, doubtful: () => true } }
  assert.equal((await viewJob(deps, id)).status, 'queued')
  const status: typeof parts.status = { ...parts.status, advance: async () => storageIsAway() }
  await workUntil(parts, runDeps(parts, { status }), async () => (await parts.queue.depth()) === 0)
  assert.equal((await parts.status.get(id))?.status, 'queued')
  assert.equal((await viewJob(deps, id)).status, 'succeeded')
  // a server that is not in doubt says the same from here on
  assert.equal((await viewJob(parts, id)).status, 'succeeded')
})

test('who saw the end of a job at one server gets its picture from another that does not know of it', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple' })
  const away = async () => storageIsAway()
  const status: typeof parts.status = { ...parts.status, advance: away }
  await workUntil(parts, runDeps(parts, { status }), async () => (await parts.queue.depth()) === 0)
  const cutOff = { ...parts, status: { ...parts.status, get: away, advance: away } }
  assert.equal((await viewJob(cutOff, id)).status, 'succeeded')
  assert.equal((await viewJob(parts, id)).status, 'queued')
  assert.equal((await getPicture(parts, id, 0)).job.status, 'succeeded')
  assert.equal((await viewJob(parts, id)).status, 'succeeded')
})

test('with the status store away, answers come from the manifest and the id', async (t) => {
  const parts = embedded(t)
  const away = async () => storageIsAway()
  const deps = { ...parts, status: { ...parts.status, get: away, ahead: away, load: away, create: away } }
  const view = await submit(deps, { prompt: 'an apple' }, { idempotencyKey: 'order-1-of-a-customer' })
  assert.equal(view.status, 'queued')
  assert.ok((view.poll_after_ms ?? 0) > 0)
  assert.equal(
    (await submit(deps, { prompt: 'an apple' }, { idempotencyKey: 'order-1-of-a-customer' })).id,
    view.id,
  )
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  assert.equal((await viewJob(deps, view.id)).status, 'succeeded')
  assert.equal(
    (await submit(deps, { prompt: 'an apple' }, { idempotencyKey: 'order-1-of-a-customer' })).status,
    'succeeded',
  )
})

test('a client that sends too much is told when to come back, others are not', async (t) => {
  const parts = embedded(t)
  const deps = {
    ...parts,
    limiter: {
      ...parts.limiter,
      take: async ({ account }: Caller) => (account === '192.0.2.1' ? 2.4 : 0),
    },
  }
  await assert.rejects(submit(deps, { prompt: 'an apple' }, { caller: anonymousCaller('192.0.2.1') }), {
    code: 'rate_limited',
    retryAfterSeconds: 3,
    message: /Try again in 3 seconds/,
  })
  assert.equal(await parts.queue.depth(), 0)
  await submit(deps, { prompt: 'an apple' }, { caller: anonymousCaller('192.0.2.2') })
  await submit(deps, { prompt: 'an apple' })
})

test('a caller without the scope is refused before anything is counted or accepted', async (t) => {
  const parts = embedded(t)
  const limiter = { ...parts.limiter, take: () => assert.fail('nothing is counted') }
  const caller = { ...anonymousCaller('::1'), name: 'a shop', scopes: new Set(['uploads'] as const) }
  await assert.rejects(submit({ ...parts, limiter }, { prompt: 'an apple' }, { caller }), {
    code: 'forbidden',
    message: 'a shop may not do this: its keys lack the scope jobs:write.',
  })
  assert.equal(await parts.queue.depth(), 0)
})

test('a task has the lowest version that says what was asked for', async (t) => {
  const parts = embedded(t)
  for (const format of ['png', 'jpeg', 'webp']) await submit(parts, { prompt: 'x', format })
  const tasks = await collect(parts.queue, 3, (delivery) => delivery.ack())
  assert.deepEqual(
    tasks.map(({ message }) => (message as Task).v),
    [2, 3, 3],
  )
  const { request } = tasks[0]!.message as Task
  assert.equal(versionOf({ ...request, loras: [{ name: 'detail', strength: 0.5 }] }), 2)
  assert.equal(versionOf({ ...request, loras: [{ name: 'detail', strength: 0.5, text_strength: 1 }] }), 4)
})

test('the trace of a request goes with its task to its event', async (t) => {
  const parts = embedded(t)
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const { id } = await submit(parts, { prompt: 'an apple' }, { trace })
  await submit(parts, { prompt: 'a pear' })
  const traces: unknown[] = []
  const consumer = await parts.events.consume(async (event) => {
    traces.push([event.id === id, event.trace])
  })
  await workUntil(parts, runDeps(parts), async () => traces.length === 2)
  await consumer.stop()
  assert.deepEqual(traces, [
    [true, trace],
    [false, undefined],
  ])
})

test('batch jobs wait behind interactive ones', async (t) => {
  const parts = embedded(t)
  const batch = await submit(parts, { prompt: 'an apple', priority: 'batch' })
  const interactive = await submit(parts, { prompt: 'an apple' })
  assert.deepEqual([interactive.position, (await viewJob(parts, batch.id)).position], [0, 1])
  const made: string[] = []
  const status: typeof parts.status = {
    ...parts.status,
    advance: async (id, update) => {
      if (update.status === 'running' && update.progress === undefined) made.push(id)
      await parts.status.advance(id, update)
    },
  }
  await workUntil(parts, runDeps(parts, { status }), async () => (await parts.queue.depth()) === 0)
  assert.deepEqual(made, [interactive.id, batch.id])
  await assert.rejects(submit(parts, { prompt: 'an apple', priority: 'urgent' }), {
    param: 'priority',
    message: /priority must be one of interactive, batch, but was "urgent"/,
  })
})

test('previews are no part of the picture: they are in the task, and are no work', async (t) => {
  const parts = embedded(t)
  const published: Task[] = []
  const queue: typeof parts.queue = {
    ...parts.queue,
    publish: async (task) => {
      published.push(task)
      await parts.queue.publish(task)
    },
  }
  for (const previews of [0, 2]) await submit({ ...parts, queue }, { ...apple, seed: 7, previews })
  const [without, with2] = published
  assert.deepEqual(with2?.request, without?.request)
  assert.deepEqual([without?.previews, with2?.previews, with2?.v], [undefined, 2, without?.v])
  assert.equal(with2?.units, without?.units)
  // workers of earlier versions have a bound for it
  await submit({ ...parts, queue }, { ...apple, seed: 7, previews: 20 })
  assert.deepEqual([published[2]?.previews, published[2]?.preview_count], [3, 20])
  assert.ok(published.every(isTask))
  await assert.rejects(submit(parts, { ...apple, previews: 101 }), { param: 'previews' })
})

test('a picture is there when its job succeeded, and not before', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  await parts.images.putImage(id, 0, 'png', Buffer.from('of an attempt that did not commit'))
  await assert.rejects(getPicture(parts, id, 0), { code: 'not_ready' })
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  await assert.rejects(getPicture(parts, id, 1), { code: 'not_found', param: 'index' })
  const { image, open } = await getPicture(parts, id, 0)
  const { bytes, body } = await open()
  assert.ok(body instanceof Readable)
  assert.deepEqual([image.bytes, (await text(body)).length], [bytes, bytes])
})
