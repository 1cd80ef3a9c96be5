import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { lastFirst } from '../../../test/cleanup.ts'
import { someTask } from '../../../test/contract/jobs.ts'
import { collect } from '../../../test/contract/task-queue.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { messagesOf } from '../../../test/services/broker-namespace.ts'
import { startRabbitmq } from '../../../test/services/rabbitmq.ts'
import { queueUrl } from '../../../test/services/services.ts'
import { AppError } from '../../jobs/errors.ts'
import type { Task } from '../../jobs/job.ts'
import type { Delivery, TaskQueue } from '../../jobs/ports.ts'
import { type BrokerOptions, openBroker } from './broker.ts'
import { rabbitTaskQueue } from './task-queue.ts'

async function openTasks(t: TestContext, url: string, options: Partial<BrokerOptions> = {}) {
  const log = keepingLog()
  const broker = await openBroker({ url, namespace: 'outage', queueMax: 1000, log, ...options })
  const queue = rabbitTaskQueue(broker)
  lastFirst(t).after(async () => {
    await queue.close()
    await broker.close()
  })
  return { queue, log }
}

async function publishedIds(queue: TaskQueue, count: number): Promise<string[]> {
  const tasks = Array.from({ length: count }, () => someTask())
  for (const task of tasks) await queue.publish(task)
  return tasks.map((task) => task.id)
}

function assertUnavailable(thrown: unknown): asserts thrown is AppError {
  assert.ok(thrown instanceof AppError, String(thrown))
  assert.equal(thrown.code, 'unavailable')
}

function idsOf(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ message }) => (message as Task).id)
}

/** Publishes until it is accepted again. */
async function untilAccepted(queue: TaskQueue, task: Task): Promise<void> {
  await waitFor(() =>
    queue.publish(task).then(
      () => true,
      (thrown: unknown) => {
        assertUnavailable(thrown)
        return false
      },
    ),
  )
}

async function emptied(queue: TaskQueue): Promise<void> {
  const waiting = await queue.depth()
  if (waiting > 0) await collect(queue, waiting, (delivery) => delivery.ack())
}

test('a broker that breaks', async (t) => {
  const rabbit = await startRabbitmq(t)

  await t.test(
    'what was accepted survives kill -9, in order; meanwhile publishing rejects at once',
    async (t) => {
      const { queue, log } = await openTasks(t, rabbit.url)
      const ids = await publishedIds(queue, 20)
      await rabbit.kill()
      await untilQuick(async () => {
        await assert.rejects(queue.publish(someTask()), { code: 'unavailable' })
        await assert.rejects(queue.depth(), { code: 'unavailable' })
      })
      await rabbit.start()
      const late = someTask()
      await untilAccepted(queue, late)
      const seen = await collect(queue, 21, (delivery) => delivery.ack())
      assert.deepEqual(idsOf(seen), [...ids, late.id])
      const lost = log.lines.filter(({ message }) => message.includes('is lost'))
      assert.equal(lost.length, 2, 'one line for each of the two connections')
      assert.equal(JSON.stringify(log.lines).includes('guest:guest'), false)
    },
  )

  await t.test('a consumer goes on after a restart, and its task in hand is lost', async (t) => {
    const { queue } = await openTasks(t, rabbit.url)
    const [first] = await publishedIds(queue, 1)
    const seen: Delivery[] = []
    const [taken, again] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    await queue.consume(async (delivery) => {
      seen.push(delivery)
      if (seen.length > 1) {
        await delivery.ack()
        return again.resolve()
      }
      taken.resolve()
      await new Promise((resolve) => delivery.lost.addEventListener('abort', resolve))
      await delivery.ack()
    })
    await taken.promise
    await rabbit.restart()
    await again.promise
    assert.deepEqual(idsOf(seen), [first, first])
    assert.equal(seen[0]?.lost.aborted, true)
    await until(async () => (await queue.depth()) === 0)
  })

  await t.test('what comes due while its queue is still starting arrives soon after', async (t) => {
    const namespace = 'late'
    const broker = await openBroker({ url: rabbit.url, namespace, queueMax: 1000, log: keepingLog() })
    lastFirst(t).after(() => broker.close())
    const { returned, eventAgain, webhookAgain, waitingOf, statusQueue, webhookQueues } = broker.topology
    const [queue = ''] = waitingOf('batch').slice(-1)
    const targets = [queue, statusQueue, webhookQueues.returned]
    const nameOf = (target: string) => `{'%2F_${target}', node()}`
    // a broker that restarts has its queues up in any order
    for (const target of targets) await rabbit.evaluate(`ra:stop_server(quorum_queues, ${nameOf(target)})`)
    for (const route of [returned('batch', 500), eventAgain(500), webhookAgain(500)]) {
      await broker.publish(route, { body: Buffer.from('{}'), messageId: undefined })
    }
    await sleep(2000)
    for (const target of targets) {
      await rabbit.evaluate(`ra:restart_server(quorum_queues, ${nameOf(target)})`)
    }
    const expected = Object.fromEntries(targets.map((target) => [target, 1]))
    await until(async () => isDeepStrictEqual(await messagesOf(rabbit.url, namespace), expected))
  })

  await t.test('a broker that hangs is noticed by its silence', async (t) => {
    const { queue } = await openTasks(t, rabbit.url, { heartbeatSeconds: 1, confirmMs: 500 })
    await publishedIds(queue, 1)
    const [taken, lost] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let deliveries = 0
    const done = Promise.withResolvers<void>()
    await queue.consume(async (delivery) => {
      deliveries += 1
      if (deliveries > 1) {
        await delivery.ack()
        return done.resolve()
      }
      delivery.lost.addEventListener('abort', () => lost.resolve())
      taken.resolve()
      await lost.promise
    })
    await taken.promise
    await rabbit.hang()
    try {
      await assert.rejects(queue.publish(someTask()), { code: 'unavailable' })
      await lost.promise
    } finally {
      rabbit.resume()
    }
    await done.promise
    // the rejected task may have arrived after all: not known to be durable is not the same as lost
    await untilAccepted(queue, someTask())
    await until(async () => (await queue.depth()) === 0)
  })

  await t.test('a broker without disk refuses tasks at once, and still hands them out', async (t) => {
    const { queue, log } = await openTasks(t, rabbit.url)
    await publishedIds(queue, 3)
    await rabbit.setShortOfDisk(true)
    await assert.rejects(queue.publish(someTask()), { code: 'unavailable' })
    await untilQuick(() => assert.rejects(queue.publish(someTask()), { code: 'unavailable' }))
    await collect(queue, 2, (delivery) => delivery.ack())
    const failing = await queue.consume(async () => assert.fail('a worker that cannot end its task'))
    const failures = () => log.lines.filter(({ message }) => message === 'returning a task failed; retrying')
    await waitFor(async () => failures().length > 5)
    await rabbit.setShortOfDisk(false)
    await untilAccepted(queue, someTask())
    await failing.stop()
    const seen = await collect(queue, 2, (delivery) => delivery.ack())
    assert.deepEqual(
      seen.map(({ losses }) => losses),
      [0, 0],
      'a worker that stops returns the task that it could not return before',
    )
    await emptied(queue)
  })

  await t.test('a broker that comes back empty gets its queues again', async (t) => {
    const { queue } = await openTasks(t, rabbit.url)
    const delivered = Promise.withResolvers<unknown>()
    await queue.consume(async (delivery) => {
      await delivery.ack()
      delivered.resolve(delivery.message)
    })
    await rabbit.evaluate('ok = rabbit:stop(), ok = rabbit_mnesia:reset(), ok = rabbit:start()')
    const task = someTask()
    await untilAccepted(queue, task)
    assert.deepEqual(await delivered.promise, task)
  })

  await t.test('a worker that is slower than the broker allows loses its task, and goes on', async (t) => {
    const set = (name: string, ms: number) => `application:set_env(rabbit, ${name}, ${ms})`
    await rabbit.evaluate(`${set('channel_tick_interval', 300)}, ${set('consumer_timeout', 1500)}`)
    const { queue } = await openTasks(t, rabbit.url)
    await publishedIds(queue, 1)
    const seen = await collect(queue, 2, async (delivery) => {
      if (delivery.losses === 0) {
        await new Promise((resolve) => delivery.lost.addEventListener('abort', resolve))
      }
      await delivery.ack()
    })
    assert.deepEqual(
      seen.map(({ attempt, losses }) => [attempt, losses]),
      [
        [1, 0],
        [1, 1],
      ],
    )
  })

  await t.test('a queue of another length is explained', async (t) => {
    await openTasks(t, rabbit.url)
    await assert.rejects(openTasks(t, rabbit.url, { queueMax: 7 }), {
      code: 'unavailable',
      param: 'PACKSHOT_QUEUE_MAX',
      message: /outage\.tasks\.interactive\.v1 exists with a length of 1000.*delete_queue/,
    })
  })
})

function until(condition: () => Promise<boolean>): Promise<void> {
  return waitFor(() => condition().catch(() => false))
}

/** One of several tries takes less time than waiting for the broker would, even on a slow machine. */
function untilQuick(action: () => Promise<void>): Promise<void> {
  return waitFor(async () => {
    const began = performance.now()
    await action()
    return performance.now() - began < 1000
  })
}

test('a wrong password is refused without another try, and not repeated', async (t) => {
  const url = new URL(await queueUrl())
  url.password = 'hush-hush'
  const log = keepingLog()
  const opening = openTasks(t, url.href, { log })
  await assert.rejects(opening, (thrown: unknown) => {
    assertUnavailable(thrown)
    assert.equal(thrown.param, 'PACKSHOT_QUEUE_URL')
    assert.match(thrown.message, /refuses the user and password/)
    assert.doesNotMatch(`${thrown.stack}${thrown.cause}`, /hush/)
    return true
  })
  assert.deepEqual(log.lines, [])
})

test('a virtual host that is missing is named', async (t) => {
  const url = new URL(await queueUrl())
  url.pathname = '/nowhere'
  await assert.rejects(openTasks(t, url.href), {
    code: 'unavailable',
    param: 'PACKSHOT_QUEUE_URL',
    message: /no virtual host nowhere/,
  })
})

test('a broker that cannot be reached is tried for a while, each try logged', async (t) => {
  for (const [host, why] of [
    ['127.0.0.1:1', 'ECONNREFUSED'],
    ['no-such-host.invalid', 'ENOTFOUND|EAI_AGAIN'],
  ]) {
    const log = keepingLog()
    await assert.rejects(openTasks(t, `amqp://user:hush-hush@${host}`, { log, startMs: 1000 }), {
      code: 'unavailable',
      param: 'PACKSHOT_QUEUE_URL',
      message: new RegExp(`RabbitMQ at ${host?.split(':')[0]}:\\d+ does not answer \\((${why})\\)`),
    })
    assert.ok(log.lines.length >= 1)
    assert.doesNotMatch(JSON.stringify(log.lines), /hush/)
  }
})

test('a port of another service is named as such', async (t) => {
  const page = createServer((_request, response) => response.end('a page')).listen(0, '127.0.0.1')
  lastFirst(t).after(() => void page.close())
  await once(page, 'listening')
  const { port } = page.address() as { port: number }
  await assert.rejects(openTasks(t, `amqp://127.0.0.1:${port}`), {
    code: 'unavailable',
    param: 'PACKSHOT_QUEUE_URL',
    message: new RegExp(`127.0.0.1:${port} is not RabbitMQ`),
  })
})

test('what is no AMQP URL is refused, and not repeated', async (t) => {
  for (const url of [
    '',
    'hush-hush',
    'http://user:hush-hush@host',
    'amqp://',
    'amqp://u:%zz@host/hush-hush',
  ]) {
    await assert.rejects(openTasks(t, url), (thrown: unknown) => {
      assertUnavailable(thrown)
      assert.equal(thrown.param, 'PACKSHOT_QUEUE_URL')
      assert.doesNotMatch(thrown.message, /hush/)
      return true
    })
  }
})
