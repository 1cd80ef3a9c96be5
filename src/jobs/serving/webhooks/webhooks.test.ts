import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { lastFirst } from '../../../../test/cleanup.ts'
import { someManifest } from '../../../../test/contract/jobs.ts'
import {
  type Embedded,
  embedded,
  runDeps,
  storageIsAway,
  submit,
  workUntil,
} from '../../../../test/jobs/embedded.ts'
import { startReceiver } from '../../../../test/kit/receiver.ts'
import { waitFor } from '../../../../test/kit/waiting.ts'
import { type PostOptions, webhookPost } from '../../../adapters/webhooks/post.ts'
import { anonymousCaller, type Caller } from '../../caller.ts'
import { AppError } from '../../errors.ts'
import type { JobEvent, Task } from '../../job.ts'
import { webhookRules } from '../../webhook-address.ts'
import { expire } from '../../working/refuse.ts'
import { buryTask } from '../bury.ts'
import { cancelJob } from '../cancel.ts'
import { deleteJob } from '../delete.ts'
import { isFinal, viewJob } from '../job-view.ts'
import { handleEvent } from '../news.ts'
import { createWebhooks } from './create.ts'
import { resendWebhookOf, webhookLogOf } from './of-job.ts'
import { defaultSendLimits, type SendLimits, startSender } from './send.ts'

/**
 * From the end of a job to its receiver. Longer than most files: one place shows every way in which either can go.
 */

const base = 'https://studio.example.com/packshot'
const caller = anonymousCaller('127.0.0.1')

/** What a server does in the background, with pauses of milliseconds. */
async function serve(
  t: TestContext,
  parts: Embedded,
  limits: Partial<SendLimits> = {},
  post: Partial<PostOptions> = {},
): Promise<void> {
  const sender = {
    ...parts,
    queue: parts.webhookQueue,
    secrets: parts.webhookSecrets,
    post: webhookPost({ rules: webhookRules(['127.0.0.1', 'shop.test']), ...post }),
    generationOf: () => 1,
    userAgent: 'Packshot/test',
  }
  const quick = { ...defaultSendLimits, schedule: [0.05, 0.05], deferMs: 10, ...limits }
  const consumers = [
    await startSender(sender, quick),
    await parts.events.consume((event) => handleEvent(parts, event)),
  ]
  lastFirst(t).after(() => Promise.all(consumers.map((consumer) => consumer.stop())))
}

/** Accepts a job with this webhook and makes it. */
async function made(parts: Embedded, url: string, body: object = {}, by: Caller = caller): Promise<string> {
  const options = { caller: by, base }
  const { id } = await submit(parts, { prompt: 'a red apple', webhook: url, ...body }, options)
  await workUntil(parts, runDeps(parts), async () => isFinal(await viewJob(parts, id, by.name)))
  return id
}

const ended = (parts: Embedded, id: string) =>
  waitFor(async () => {
    const last = (await parts.webhooks.log(id))?.tries.at(-1)
    return last !== undefined && last.next_at === undefined
  })

test('the receiver of a job is told its end: signed, with absolute links and no picture', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  await serve(t, parts)
  const id = await made(parts, `${receiver.url}?for=7`, { count: 2 })
  await ended(parts, id)
  const [message, ...more] = receiver.messages
  assert.ok(message)
  assert.deepEqual(more, [])
  const { headers, body, path } = message
  assert.equal(path, '/hook?for=7')
  assert.equal(headers['content-type'], 'application/json')
  assert.equal(headers['user-agent'], 'Packshot/test')
  const verifier = new Webhook(parts.webhooks.secretOf(caller))
  const told = verifier.verify(body, headers as Record<string, string>) as Record<string, unknown>
  const view = await viewJob(parts, id)
  assert.deepEqual(told, {
    type: 'job.succeeded',
    timestamp: view.finished_at,
    data: {
      ...view,
      images: view.images.map(({ url, link, ...image }) => ({
        ...image,
        url: base + url,
        link: base + link,
      })),
      links: { self: `${base}/v1/jobs/${id}` },
    },
  })
  // the id of the event gives no access to the job
  assert.equal(headers['webhook-id'], `evt_${id.slice(0, 26)}_succeeded`)
  const log = await webhookLogOf(parts, id, caller)
  assert.deepEqual(
    log.tries.map(({ status, reason }) => [status, reason]),
    [[204, undefined]],
  )
  assert.equal(log.url, `${receiver.url}?...`)
})

test('every way in which a job ends is told, once', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  const taskOf = async (id: string) =>
    ({ v: 2, ...(await parts.status.get(id)), webhook: { url: receiver.url, base } }) as unknown as Task
  const accept = async () => (await submit(parts, { prompt: 'an apple', webhook: receiver.url }, { base })).id
  const delivery = { ack: async () => {} } as Parameters<typeof expire>[1]
  const succeeded = await made(parts, receiver.url)
  const failed = await accept()
  await buryTask(parts, { message: await taskOf(failed), reason: 'delivery_limit' })
  const canceled = await accept()
  await cancelJob(parts, canceled)
  const deleted = await made(parts, receiver.url)
  await deleteJob(parts, deleted)
  const [expired, forgotten] = [await accept(), await accept()]
  const tasks = [await taskOf(expired), await taskOf(forgotten)]
  parts.clock.ahead = 3_600_001
  await parts.status.forget(forgotten)
  for (const task of tasks) await expire(parts, delivery, task)
  // an event that comes twice
  await parts.events.publish({ v: 1, id: succeeded, status: 'succeeded', at: '' })
  await serve(t, parts)
  await waitFor(() => receiver.messages.length >= 6)
  await waitFor(() => parts.database.durable.prepare('SELECT 1 FROM events').get() === undefined)
  const told = receiver.messages.map(({ headers, body }) => {
    const { type, data } = JSON.parse(body)
    return [headers['webhook-id'], type, data.id, data.request?.prompt]
  })
  const of = (id: string, status: string, prompt: string | undefined = 'an apple') => [
    `evt_${id.slice(0, 26)}_${status}`,
    `job.${status}`,
    id,
    prompt,
  ]
  assert.deepEqual(
    told.toSorted(),
    [
      of(succeeded, 'succeeded', 'a red apple'),
      of(failed, 'failed'),
      of(canceled, 'canceled'),
      [...of(deleted, 'succeeded').slice(0, 3), undefined],
      of(expired, 'expired'),
      [...of(forgotten, 'expired').slice(0, 3), undefined],
    ].toSorted(),
  )
})

test('nothing is on the queue before the status is final, and an event comes again until it is', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'an apple', webhook: 'https://shop.example.net/' }, { base })
  const event: JobEvent = { v: 1, id, status: 'succeeded', at: '' }
  let published = 0
  const queue = {
    ...parts.webhookQueue,
    publish: async () => {
      published += 1
      assert.equal((await parts.status.get(id))?.status, 'succeeded')
      if (published === 1) throw new AppError('unavailable', 'The broker is away.')
    },
  }
  const webhooks = createWebhooks({
    ...parts,
    queue,
    secrets: parts.webhookSecrets,
    rules: webhookRules(),
    forms: {},
  })
  // events may come from anyone
  await handleEvent({ ...parts, webhooks }, event)
  await handleEvent(
    { ...parts, webhooks },
    { ...event, status: 'expired', webhook: { url: 'https://x.net/', base } },
  )
  assert.equal(published, 0)
  const state = await parts.status.get(id)
  await parts.images.commit(
    someManifest({ ...state, v: 2 } as Task, state?.webhook && { webhook: state.webhook }),
  )
  const away = { ...parts.status, advance: async () => storageIsAway() }
  await assert.rejects(handleEvent({ ...parts, webhooks, status: away }, event))
  assert.equal(published, 0)
  await assert.rejects(handleEvent({ ...parts, webhooks }, event), { code: 'unavailable' })
  for (let n = 0; n < 3; n += 1) await handleEvent({ ...parts, webhooks }, event)
  assert.equal(published, 2)
})

test('a cancellation that cannot be announced leaves the task to a worker, which announces it', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  await serve(t, parts)
  const { id } = await submit(parts, { prompt: 'an apple', webhook: receiver.url }, { base })
  const events = { ...parts.events, publish: async () => storageIsAway() }
  assert.equal((await cancelJob({ ...parts, events }, id)).status, 'canceled')
  assert.equal(await parts.queue.depth(), 1)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  await ended(parts, id)
  assert.equal(JSON.parse(receiver.messages[0]?.body ?? '').type, 'job.canceled')
})

test('a failure is tried again by the schedule, with one id and a time of its own, until it succeeds or the schedule ends', async (t) => {
  const parts = embedded(t)
  const flaky = await startReceiver(t, (response, n) => response.writeHead(n < 3 ? 500 : 200).end())
  const redirecting = await startReceiver(t, (response) =>
    response.writeHead(302, { location: flaky.url }).end(),
  )
  await serve(t, parts)
  const [saved, lost] = [await made(parts, flaky.url), await made(parts, redirecting.url)]
  for (const id of [saved, lost]) await ended(parts, id)
  const verifier = new Webhook(parts.webhooks.secretOf(caller))
  for (const { headers, body } of flaky.messages) verifier.verify(body, headers as Record<string, string>)
  assert.equal(new Set(flaky.messages.map(({ headers }) => headers['webhook-id'])).size, 1)
  const tries = async (id: string) =>
    (await parts.webhooks.log(id))?.tries.map(({ status, reason, next_at }) => [
      status,
      reason,
      next_at !== undefined,
    ])
  const refused = 'The receiver did not answer with 2xx.'
  const failure = (status: number) => [status, refused, true]
  assert.deepEqual(await tries(saved), [failure(500), failure(500), [200, undefined, false]])
  assert.deepEqual(await tries(lost), [failure(302), failure(302), [302, refused, false]])
  assert.deepEqual([flaky.messages.length, redirecting.messages.length], [3, 3])
})

test('410 ends all tries, and the receiver gets nothing more from this caller', async (t) => {
  const parts = embedded(t)
  const gone = await startReceiver(t, (response) => response.writeHead(410).end())
  await serve(t, parts)
  for (const id of [await made(parts, gone.url), await made(parts, gone.url)]) await ended(parts, id)
  assert.equal(gone.messages.length, 1)
  const other: Caller = { ...caller, name: 'shop', account: 'shop' }
  await ended(parts, await made(parts, gone.url, {}, other))
  assert.equal(gone.messages.length, 2)
})

test('a receiver that asks for a pause gets it, within bounds, and others do not wait', async (t) => {
  const parts = embedded(t)
  const busy = await startReceiver(t, (response) => response.writeHead(429, { 'retry-after': '3600' }).end())
  const other = await startReceiver(t)
  await serve(t, parts)
  const first = await made(parts, busy.url)
  await waitFor(async () => (await parts.webhooks.log(first))?.tries.length === 1)
  const [{ at, next_at } = { at: '', next_at: '' }] = (await parts.webhooks.log(first))?.tries ?? []
  assert.equal(Date.parse(next_at ?? '') - Date.parse(at), 3_600_000)
  // a second job of this receiver is put off, uncounted
  const second = await made(parts, busy.url)
  await ended(parts, await made(parts, other.url))
  assert.deepEqual((await parts.webhooks.log(second))?.tries, [])
  assert.equal(busy.messages.length, 1)
})

test('slow receivers delay neither another one nor any status', async (t) => {
  const parts = embedded(t)
  const slow = await startReceiver(t, () => {})
  const quick = await startReceiver(t)
  await serve(t, parts, { concurrency: 8, perReceiver: 2, perCaller: 6 })
  const waiting: string[] = []
  for (let n = 0; n < 12; n += 1) waiting.push(await made(parts, slow.url))
  const id = await made(parts, quick.url)
  await ended(parts, id)
  assert.equal(slow.messages.length, 2)
  for (const each of waiting) assert.equal((await viewJob(parts, each)).status, 'succeeded')
  assert.deepEqual((await parts.webhooks.log(waiting.at(-1) ?? ''))?.tries, [])
  await slow.close()
})

test('a name that leads inside at the second look is not connected to, and the log tells no more than of any other', async (t) => {
  const parts = embedded(t)
  const outside = await startReceiver(t, (response) => response.writeHead(500).end())
  let looks = 0
  const resolve = async () => {
    looks += 1
    return [{ address: looks === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 }]
  }
  const listed = webhookRules(['shop.test'])
  const rules = { ...listed, allows: (_url: URL, address: string) => address === '127.0.0.1' }
  await serve(t, parts, {}, { rules, resolve })
  const id = await made(parts, `http://shop.test:${outside.port}/hook`)
  await ended(parts, id)
  const closed = await startReceiver(t)
  await closed.close()
  const dead = await made(parts, closed.url)
  await ended(parts, dead)
  const reasons = async (name: string) => (await parts.webhooks.log(name))?.tries.map(({ reason }) => reason)
  const unreachable = 'The receiver could not be reached, or did not answer in time.'
  assert.deepEqual(await reasons(id), ['The receiver did not answer with 2xx.', unreachable, unreachable])
  assert.deepEqual(await reasons(dead), [unreachable, unreachable, unreachable])
  assert.equal(outside.messages.length, 1)
})

test('a webhook is checked with its job: a forbidden one is a fault of that field', async (t) => {
  const parts = embedded(t)
  const refused = (webhook: unknown, reason: RegExp, webhooks = parts.webhooks) =>
    assert.rejects(submit({ ...parts, webhooks }, { prompt: 'an apple', webhook }), (thrown: AppError) => {
      assert.deepEqual([thrown.code, thrown.param], ['invalid_request', 'webhook'])
      assert.match(thrown.message, reason)
      return true
    })
  await refused('http://shop.example.net/', /must begin with https/)
  await refused('https://169.254.169.254/', /must be on the public internet/)
  await refused('https://user@shop.example.net/', /user or password/)
  await refused(7, /webhook/)
  await refused({ url: 'https://shop.example.net/' }, /webhook/)
  const off = createWebhooks({
    ...parts,
    queue: parts.webhookQueue,
    secrets: parts.webhookSecrets,
    rules: undefined,
    forms: {},
  })
  await refused('https://shop.example.net/', /sends none/, off)
  assert.equal(await parts.queue.depth(), 0)
  // a default of the keys file is then ignored
  const withDefault: Caller = { ...caller, webhook: { url: 'https://shop.example.net/', secret: 1 } }
  await submit({ ...parts, webhooks: off }, { prompt: 'an apple' }, { caller: withDefault })
})

test('a caller has a default, a job may name another receiver, and another API has a form of its own', async (t) => {
  const parts = embedded(t)
  const [usual, special] = [await startReceiver(t), await startReceiver(t)]
  await serve(t, parts)
  const shop: Caller = { ...caller, name: 'shop', account: 'shop', webhook: { url: usual.url, secret: 1 } }
  const inForm = await submit(
    parts,
    { prompt: 'an apple' },
    { caller: shop, webhook: { url: special.url, form: 'brief', base } },
  )
  const named = await submit(parts, { prompt: 'an apple', webhook: special.url }, { caller: shop, base })
  const plain = await submit(parts, { prompt: 'an apple' }, { caller: shop, base })
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  for (const { id } of [inForm, named, plain]) await ended(parts, id)
  assert.deepEqual(
    special.messages.map(({ body }) => Object.keys(JSON.parse(body))).toSorted(),
    [
      ['id', 'ended'],
      ['type', 'timestamp', 'data'],
    ].toSorted(),
  )
  assert.deepEqual(JSON.parse(usual.messages[0]?.body ?? '').data.id, plain.id)
  const verifier = new Webhook(parts.webhooks.secretOf(shop))
  for (const { body, headers } of usual.messages) verifier.verify(body, headers as Record<string, string>)
})

test('a body has less than 20 kB, whatever was asked for', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  await serve(t, parts)
  const long = '\u{1f34e} "\\'.repeat(400)
  const id = await made(parts, receiver.url, {
    prompt: long.slice(0, 2000),
    negative_prompt: long.slice(0, 2000),
    count: 4,
  })
  await ended(parts, id)
  const body = receiver.messages[0]?.body ?? ''
  assert.ok(Buffer.byteLength(body) < 20_000)
  assert.ok(JSON.parse(body).data.request.prompt.startsWith('\u{1f34e} "\\'))
})

test('a webhook is sent again on request, with the same id, and only for a job that has one', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  await serve(t, parts)
  const id = await made(parts, receiver.url)
  await ended(parts, id)
  await resendWebhookOf(parts, id, caller)
  await waitFor(() => receiver.messages.length === 2)
  await waitFor(async () => (await parts.webhooks.log(id))?.tries.length === 2)
  const [first, second] = receiver.messages.map(({ headers, body }) => [headers['webhook-id'], body])
  assert.deepEqual(second, first)
  const without = await made(parts, receiver.url, { webhook: undefined })
  await assert.rejects(resendWebhookOf(parts, without, caller), { code: 'invalid_request' })
  await assert.rejects(webhookLogOf(parts, without, caller), { code: 'not_found' })
  const { id: waiting } = await submit(parts, { prompt: 'an apple', webhook: receiver.url }, { base })
  await assert.rejects(resendWebhookOf(parts, waiting, caller), { code: 'not_ready' })
  const other = { ...caller, name: 'shop' }
  for (const action of [resendWebhookOf, webhookLogOf])
    await assert.rejects(action(parts, id, other), { code: 'not_found' })
})

test('what is no job is announced too: with its own id, and not if it is too long', async (t) => {
  const parts = embedded(t)
  const receiver = await startReceiver(t)
  await serve(t, parts)
  const webhook = { url: receiver.url, base }
  const event = { id: 'evt_run_completed', type: 'catalogue.completed', caller: 'shop', webhook }
  await parts.webhooks.announce({ ...event, data: { rows: 7 } })
  await ended(parts, event.id)
  const [message] = receiver.messages
  const { type, timestamp, data } = JSON.parse(message?.body ?? '')
  assert.deepEqual([message?.headers['webhook-id'], type, data], [event.id, event.type, { rows: 7 }])
  assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 600_000)
  await assert.rejects(parts.webhooks.announce({ ...event, data: 'x'.repeat(20_000) }), { code: 'internal' })
})
