import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someManifest, someRequest, someTask } from '../../test/contract/jobs.ts'
import { someDelivery } from '../../test/contract/webhook-queue.ts'
import { embedded } from '../../test/jobs/embedded.ts'
import { waitFor } from '../../test/kit/waiting.ts'
import { keepingLog } from '../../test/quiet-log.ts'
import { eventOf, type JobEvent } from './job.ts'
import type { DeadTask, WebhookAgain } from './ports.ts'
import { signedEvents, signedTasks, signedWebhooks } from './signed.ts'
import type { WebhookDelivery } from './webhook.ts'

const key = Buffer.from('a key of at least 32 characters, for tests')

test('only signed tasks reach a worker, as they were sent; others are parked', async (t) => {
  const { queue, database } = embedded(t)
  const signed = signedTasks(queue, { key, log: keepingLog() })
  const foreign = signedTasks(queue, {
    key: Buffer.from('another key of at least 32 characters'),
    log: keepingLog(),
  })
  const task = someTask({ request: someRequest({ prompt: 'é "quoted" \u2028' }) })
  const forged = someTask()
  await signed.publish(task)
  await queue.publish(forged)
  await foreign.publish(someTask())
  // a signature of another message
  const insert = database.durable.prepare('INSERT INTO tasks (id, message, due_at) SELECT ?1, ?2, 0')
  const { message } = database.durable.prepare('SELECT message FROM tasks WHERE id = ?').get(task.id) as {
    message: string
  }
  insert.run('changed', message.replace('"count":1', '"count":4'))
  insert.run('no object', '"text"')
  const seen: unknown[] = []
  const consumer = await signed.consume(async (delivery) => {
    seen.push(delivery.message)
    await delivery.ack()
  })
  await waitFor(async () => (await queue.depth()) === 0)
  await consumer.stop()
  assert.deepEqual(seen, [task])
  const { dead } = database.durable.prepare('SELECT count(*) AS dead FROM dead_tasks').get() as {
    dead: number
  }
  assert.equal(dead, 4)
})

test('a task that the queue gave up on is believed only with its signature', async (t) => {
  const { queue } = embedded(t)
  const log = keepingLog()
  const handed: DeadTask[] = []
  const dead = (message: unknown) => ({
    ...queue,
    async consumeDead(handler: (dead: DeadTask) => Promise<void>) {
      await handler({ message, reason: 'delivery_limit' })
      return { stop: async () => {} }
    },
  })
  const keep = async (task: DeadTask) => void handed.push(task)
  const published: unknown[] = []
  const task = someTask()
  await signedTasks({ ...queue, publish: async (each) => void published.push(each) }, { key, log }).publish(
    task,
  )
  await signedTasks(dead(published[0]), { key, log }).consumeDead(keep)
  await signedTasks(dead(task), { key, log }).consumeDead(keep)
  assert.deepEqual(
    handed.map(({ message }) => message),
    [task, undefined],
  )
})

test('only webhooks that a server signed are sent, with any secret of the installation, also when they come again', async (t) => {
  const { webhookQueue } = embedded(t)
  const received = new Map<string, unknown>()
  const messages: WebhookDelivery[] = []
  const raw = {
    ...webhookQueue,
    publish: async (delivery: WebhookDelivery) => void messages.push(delivery),
    async consume(handler: (delivery: WebhookDelivery) => Promise<WebhookAgain | undefined>) {
      for (const message of messages.splice(0)) {
        const again = await handler(message)
        if (again !== undefined) messages.push(again.delivery)
      }
      return { stop: async () => {} }
    },
  }
  const [old, now] = [Buffer.from('the old secret'), Buffer.from('the new secret')]
  const log = keepingLog()
  const before = signedWebhooks(raw, { secrets: [old], log })
  const signed = signedWebhooks(raw, { secrets: [now, old], log })
  const [first, second, forged] = [someDelivery(), someDelivery(), someDelivery()]
  await before.publish(first)
  await signed.publish(second)
  messages.push(forged, { ...(messages[1] as WebhookDelivery), url: 'https://other.example.net/' })
  const keep = async (delivery: WebhookDelivery) => {
    received.set(delivery.id, delivery)
    return delivery.failures > 0 ? undefined : { delivery: { ...delivery, failures: 1 }, delayMs: 0 }
  }
  for (let n = 0; n < 2; n += 1) await signed.consume(keep, { concurrency: 1 })
  assert.deepEqual(
    [...received.values()],
    [first, second].map((each) => ({ ...each, failures: 1 })),
  )
  assert.deepEqual(messages, [])
})

test('only signed events reach a server', async (t) => {
  const { events } = embedded(t)
  const signed = signedEvents(events, { key, log: keepingLog() })
  const [good, forged] = [someTask(), someTask()].map((task) => eventOf(someManifest(task))) as [
    JobEvent,
    JobEvent,
  ]
  await events.publish(forged)
  await signed.publish(good)
  const seen: JobEvent[] = []
  const consumer = await signed.consume(async (event) => void seen.push(event))
  await waitFor(() => seen.length > 0)
  await consumer.stop()
  assert.deepEqual(seen, [good])
})
