import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from 'rabbitmq-client'
import { lastFirst } from '../../../test/cleanup.ts'
import { eventQueueContract } from '../../../test/contract/event-queue.ts'
import { someTask } from '../../../test/contract/jobs.ts'
import { collect, taskQueueContract } from '../../../test/contract/task-queue.ts'
import { webhookQueueContract } from '../../../test/contract/webhook-queue.ts'
import { type FaultProxy, startProxy } from '../../../test/fault-kit/proxy.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { removeNamespace } from '../../../test/services/broker-namespace.ts'
import { queueUrl } from '../../../test/services/services.ts'
import { AppError } from '../../jobs/errors.ts'
import type { DeadTask, TaskQueue } from '../../jobs/ports.ts'
import { type BrokerOptions, openBroker } from './broker.ts'
import { rabbitEventQueue } from './event-queue.ts'
import { rabbitTaskQueue } from './task-queue.ts'
import { topology } from './topology.ts'
import { rabbitWebhookQueue } from './webhook-queue.ts'

/** A namespace of its own, deleted after the test with everything opened in it. */
async function emptyBroker(t: TestContext) {
  const url = await queueUrl()
  const namespace = `test-${randomBytes(6).toString('hex')}`
  const raw = new Connection(url)
  raw.on('error', () => {})
  const closing: (() => Promise<unknown>)[] = []
  lastFirst(t).after(async () => {
    for (const close of closing.reverse()) await close()
    await raw.close()
    await removeNamespace(url, namespace)
  })
  const keep = <T extends { close(): Promise<void> }>(port: T): T => {
    closing.push(() => port.close())
    return port
  }
  const open = async (options: Partial<BrokerOptions> = {}) => {
    const given = { url, namespace, queueMax: 100, log: keepingLog(), ...options }
    return keep(await openBroker(given))
  }
  return {
    url,
    namespace,
    raw,
    keep,
    open,
    tasks: async () => keep(rabbitTaskQueue(await open(), { deadRetryMs: 20 })),
    count: async (queue: string) => (await raw.queueDeclare({ queue, passive: true })).messageCount,
  }
}

taskQueueContract('rabbitmq', async (t) => {
  const { url, namespace, raw, keep, open } = await emptyBroker(t)
  const proxies = new Map<TaskQueue, FaultProxy>()
  const publisher = keep(raw.createPublisher({ confirm: true }))
  return {
    async open({ max }) {
      const { hostname: host, port } = new URL(url)
      const proxy = await startProxy(t, { host, port: Number(port || 5672) })
      const near = new URL(url)
      near.host = `${proxy.host}:${proxy.port}`
      const queue = keep(rabbitTaskQueue(await open({ url: near.href, queueMax: max }), { deadRetryMs: 20 }))
      proxies.set(queue, proxy)
      return queue
    },
    inject: (message) =>
      publisher.send(
        { exchange: `${namespace}.tasks`, routingKey: 'new.interactive', durable: true, mandatory: true },
        Buffer.from(message),
      ),
    crash: async (queue) => proxies.get(queue)?.refuse(),
    // a quorum queue refuses once it is past its length; more only if several are in flight at once
    overshoot: 1,
    handsOverDead: true,
    withdraws: false,
  }
})

eventQueueContract('rabbitmq', async (t) => {
  const { keep, open } = await emptyBroker(t)
  return async () => keep(rabbitEventQueue(await open(), { retryMs: 20 }))
})

webhookQueueContract('rabbitmq', async (t) => {
  const { namespace, raw, keep, open } = await emptyBroker(t)
  const publisher = keep(raw.createPublisher({ confirm: true }))
  return {
    open: async ({ max = 100 } = {}) =>
      keep(rabbitWebhookQueue(await open({ webhooksMax: max }), { retryMs: 20 })),
    inject: (message) =>
      publisher.send({ routingKey: `${namespace}.webhooks.v1`, durable: true }, Buffer.from(message)),
  }
})

test('a task that was given back goes before those that never were taken', async (t) => {
  const queue = await (await emptyBroker(t)).tasks()
  for (const priority of ['interactive', 'batch'] as const) {
    const [first, second] = [someTask({ priority }), someTask({ priority })]
    await queue.publish(first)
    await queue.publish(second)
    let given = false
    const seen = await collect(queue, 3, (delivery) => {
      if (given) return delivery.ack()
      given = true
      return delivery.giveBack()
    })
    assert.deepEqual(
      seen.map((delivery) => delivery.message),
      [first, first, second],
    )
  }
})

test('the bound of a class holds for the lanes and servers together, once they have counted', async (t) => {
  const { keep, open } = await emptyBroker(t)
  const servers = [0, 1].map(async () => keep(rabbitTaskQueue(await open({ queueMax: 4 }))))
  const queues = await Promise.all(servers)
  for (const [lane, queue] of queues.entries())
    for (const _ of [1, 2]) await queue.publish(someTask(), { lane })
  await sleep(1100)
  for (const queue of queues)
    for (const lane of [0, 5])
      await assert.rejects(queue.publish(someTask(), { lane }), { code: 'queue_full' })
  await queues[0]?.publish(someTask({ priority: 'batch' }), { lane: 1 })
  await collect(queues[0] as TaskQueue, 2, (delivery) => delivery.ack())
  const accepted = (queue: TaskQueue) => () =>
    queue.publish(someTask(), { lane: 7 }).then(
      () => true,
      () => false,
    )
  for (const queue of queues) await waitFor(accepted(queue))
})

test('without a lane the tasks of an account are in one', async (t) => {
  const { namespace, tasks, count } = await emptyBroker(t)
  const queue = await tasks()
  const lanes = topology(namespace, 1).lanesOf('interactive')
  const counts = () => Promise.all(lanes.map(count))
  for (const account of ['ann', 'bob', 'cid', 'dan']) {
    const before = await counts()
    for (const _ of [1, 2, 3]) await queue.publish(someTask({ account }))
    const more = (await counts()).map((each, lane) => each - (before[lane] ?? 0))
    assert.deepEqual(
      more.filter((each) => each > 0),
      [3],
    )
    assert.equal(more.at(-1), 0, 'the last is for accounts that are known to have few')
  }
  assert.ok((await counts()).filter((each) => each > 0).length > 1)
  assert.equal(await queue.depth(), 12)
})

test('a retried task stays in its class, and does not expire once its pause is over', async (t) => {
  const { namespace, tasks, count } = await emptyBroker(t)
  const queue = await tasks()
  await queue.publish(someTask({ priority: 'batch' }))
  await collect(queue, 1, (delivery) => delivery.retry(50))
  await waitFor(async () => (await count(`${namespace}.tasks.batch.returned.v1`)) === 1)
  await sleep(300)
  assert.equal(await queue.depth(), 1)
  const [again] = await collect(queue, 1, (delivery) => delivery.ack())
  assert.equal(again?.attempt, 2)
})

test('a task that its handler does not end comes again, uncounted', async (t) => {
  const queue = await (await emptyBroker(t)).tasks()
  await queue.publish(someTask())
  let tries = 0
  const seen = await collect(queue, 3, async (delivery) => {
    tries += 1
    if (tries === 1) return
    await (tries === 2 ? delivery.retry(1) : delivery.ack())
  })
  assert.deepEqual(
    seen.map(({ attempt, losses }) => [attempt, losses]),
    [
      [1, 0],
      [1, 0],
      [2, 0],
    ],
  )
})

test('a queue that is deleted under us is named, and made again', async (t) => {
  const { namespace, tasks, raw } = await emptyBroker(t)
  const queue = await tasks()
  const delivered = Promise.withResolvers<unknown>()
  await queue.consume(async (delivery) => {
    await delivery.ack()
    delivered.resolve(delivery.message)
  })
  await sleep(200)
  await raw.queueDelete({ queue: `${namespace}.tasks.batch.v1` })
  const task = someTask({ priority: 'batch' })
  const faults: unknown[] = []
  const published = async () => {
    try {
      await queue.publish(task)
      return true
    } catch (thrown) {
      faults.push(thrown)
      return false
    }
  }
  await waitFor(published)
  assert.deepEqual(await delivered.promise, task)
  assert.ok(faults.every((fault) => fault instanceof AppError && fault.code === 'unavailable'))
})

test('publishing to a queue that is gone rejects, and does so only until it is there again', async (t) => {
  const { namespace, tasks, raw } = await emptyBroker(t)
  const queue = await tasks()
  await queue.publish(someTask())
  await raw.queueDelete({ queue: `${namespace}.tasks.interactive.v1` })
  await assert.rejects(queue.publish(someTask()), { code: 'unavailable', message: /new\.interactive/ })
  await waitFor(() =>
    queue.publish(someTask()).then(
      () => true,
      () => false,
    ),
  )
})

test('a task that the broker gives up is handed over with its reason, and parked', async (t) => {
  const { url, namespace, tasks, count } = await emptyBroker(t)
  const queue = await tasks()
  const task = someTask()
  await queue.publish(task)
  const dead: DeadTask[] = []
  await queue.consumeDead(async (each) => void dead.push(each))
  const waiting = `${namespace}.tasks.interactive.v1`
  let losses = 0
  await waitFor(async () => {
    if (dead.length > 0) return true
    // it comes back when the broker has noticed the loss, which may take a while
    if ((await count(waiting)) === 0) return false
    const dying = new Connection(url)
    const channel = await dying.acquire()
    await channel.basicGet({ queue: waiting })
    dying.unsafeDestroy()
    losses += 1
    assert.ok(losses < 20, 'the broker gives up')
    return false
  })
  assert.deepEqual(dead, [{ message: task, reason: 'delivery_limit' }])
  await waitFor(async () => (await count(`${namespace}.parked.v1`)) === 1)
})

test('a message that is no event is parked, and those after it are handled', async (t) => {
  const { namespace, raw, keep, open, count } = await emptyBroker(t)
  const events = keep(rabbitEventQueue(await open()))
  const publisher = keep(raw.createPublisher({ confirm: true }))
  const envelope = { exchange: `${namespace}.events`, routingKey: 'failed', durable: true }
  await publisher.send(envelope, Buffer.from('{"v": 1'))
  const event = { v: 1, id: 'some-job', status: 'failed', at: new Date().toISOString() } as const
  await events.publish(event)
  const seen = Promise.withResolvers<unknown>()
  await events.consume(async (each) => seen.resolve(each))
  assert.deepEqual(await seen.promise, event)
  await waitFor(async () => (await count(`${namespace}.parked.v1`)) === 1)
})
