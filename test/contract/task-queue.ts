import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { Delivery, TaskQueue } from '../../src/jobs/ports.ts'
import { someTask } from './jobs.ts'

export interface TaskQueueKit {
  /** A queue on the kit's one store. A lease lasts `leaseMs`; `owner` tells consumers apart. */
  open(options: { max: number; owner: string; leaseMs: number }): TaskQueue
  /** Puts a message into the store as it is, valid or not. */
  inject(message: string): void
}

/** What every TaskQueue promises. `start` makes an empty store and has it removed after the test. */
export function taskQueueContract(name: string, start: (t: TestContext) => TaskQueueKit): void {
  const usual = { max: 100, owner: 'worker-1', leaseMs: 30_000 }

  suite(`${name} as TaskQueue`, () => {
    test('delivers what was published, in order, one at a time', async (t) => {
      const queue = start(t).open(usual)
      const tasks = [someTask(), someTask(), someTask()]
      for (const task of tasks) await queue.publish(task)
      let busy = 0
      const seen = await collect(queue, 3, async (delivery) => {
        busy += 1
        assert.equal(busy, 1)
        await delivery.ack()
        busy -= 1
      })
      assert.deepEqual(
        seen.map((delivery) => delivery.message),
        tasks,
      )
      assert.deepEqual(
        seen.map((delivery) => delivery.attempt),
        [1, 1, 1],
      )
      assert.equal(await queue.depth(), 0)
    })

    test('keeps tasks when it is closed and opened again', async (t) => {
      const kit = start(t)
      const first = kit.open(usual)
      const task = someTask()
      await first.publish(task)
      await first.close()
      const [delivery] = await collect(kit.open(usual), 1, (each) => each.ack())
      assert.deepEqual(delivery?.message, task)
    })

    test('takes a task once, however often it is published', async (t) => {
      const queue = start(t).open({ ...usual, max: 1 })
      const task = someTask()
      await queue.publish(task)
      await queue.publish(task)
      assert.equal(await queue.depth(), 1)
    })

    test('refuses more than its bound, and takes tasks again when there is room', async (t) => {
      const queue = start(t).open({ ...usual, max: 2 })
      await queue.publish(someTask())
      await queue.publish(someTask())
      await assert.rejects(queue.publish(someTask()), { code: 'queue_full' })
      await collect(queue, 2, (delivery) => delivery.ack())
      await queue.publish(someTask())
      assert.equal(await queue.depth(), 1)
    })

    test('counts a task in work as one in the queue', async (t) => {
      const queue = start(t).open({ ...usual, max: 1 })
      await queue.publish(someTask())
      await collect(queue, 1, async (delivery) => {
        assert.equal(await queue.depth(), 1)
        await assert.rejects(queue.publish(someTask()), { code: 'queue_full' })
        await delivery.ack()
      })
    })

    test('counts a retry as an attempt, and lets later tasks pass meanwhile', async (t) => {
      const queue = start(t).open(usual)
      const [failing, other] = [someTask(), someTask()]
      await queue.publish(failing)
      await queue.publish(other)
      const order = await collect(queue, 3, (delivery) =>
        delivery.attempt === 1 && isFor(delivery, failing) ? delivery.retry(150) : delivery.ack(),
      )
      assert.deepEqual(order.map(idOf), [failing.id, other.id, failing.id])
      assert.deepEqual(
        order.map((delivery) => delivery.attempt),
        [1, 1, 2],
      )
    })

    test('does not count a task that was given back', async (t) => {
      const queue = start(t).open(usual)
      await queue.publish(someTask())
      let deliveries = 0
      const seen = await collect(queue, 2, (delivery) => {
        deliveries += 1
        return deliveries === 1 ? delivery.giveBack() : delivery.ack()
      })
      assert.deepEqual(
        seen.map((delivery) => delivery.attempt),
        [1, 1],
      )
    })

    test('delivers again what a dead worker left, and counts that attempt', async (t) => {
      const kit = start(t)
      const dying = kit.open({ ...usual, leaseMs: 200 })
      await dying.publish(someTask())
      const stuck = await abandon(dying)
      assert.equal(stuck.attempt, 1)
      const heir = kit.open({ ...usual, owner: 'worker-1' })
      const [again] = await collect(heir, 1, (delivery) => delivery.ack())
      assert.equal(again?.attempt, 2)
      await stuck.ack()
      assert.equal(stuck.lost.aborted, true)
    })

    test('delivers to another worker when the lease is over, and ignores the first one from then on', async (t) => {
      const kit = start(t)
      const zombie = kit.open({ ...usual, owner: 'zombie', leaseMs: 150 })
      await zombie.publish(someTask())
      const stuck = await abandon(zombie, 'without renewal')
      const other = kit.open({ ...usual, owner: 'other' })
      const [again] = await collect(other, 1, async (delivery) => {
        await stuck.ack()
        assert.equal(await other.depth(), 1)
        await delivery.ack()
      })
      assert.equal(again?.attempt, 2)
      assert.equal(stuck.lost.aborted, true)
    })

    test('keeps a lease for as long as the handler works', async (t) => {
      const kit = start(t)
      const slow = kit.open({ ...usual, owner: 'slow', leaseMs: 1000 })
      await slow.publish(someTask())
      const working = Promise.withResolvers<void>()
      const done = Promise.withResolvers<void>()
      const consumer = await slow.consume(async (delivery) => {
        working.resolve()
        await done.promise
        await delivery.ack()
      })
      await working.promise
      let stolen = 0
      const other = kit.open({ ...usual, owner: 'other' })
      const thief = await other.consume(async (delivery) => {
        stolen += 1
        await delivery.ack()
      })
      await new Promise((resolve) => setTimeout(resolve, 2500))
      done.resolve()
      await consumer.stop()
      await thief.stop()
      assert.equal(stolen, 0)
      assert.equal(await slow.depth(), 0)
    })

    test('hands on a damaged message, and parks what is called dead', async (t) => {
      const kit = start(t)
      const queue = kit.open(usual)
      kit.inject('{"half of a ta')
      const seen = await collect(queue, 1, (delivery) => delivery.dead('no task'))
      assert.equal(seen[0]?.message, '{"half of a ta')
      assert.equal(await queue.depth(), 0)
    })

    test('stops after the task in work', async (t) => {
      const queue = start(t).open(usual)
      await queue.publish(someTask())
      await queue.publish(someTask())
      const working = Promise.withResolvers<void>()
      const consumer = await queue.consume(async (delivery) => {
        working.resolve()
        await delivery.ack()
      })
      await working.promise
      await consumer.stop()
      const left = await queue.depth()
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.equal(await queue.depth(), left)
    })

    test('withdraws a task that waits, if it can', async (t) => {
      const queue = start(t).open(usual)
      if (queue.withdraw === undefined) return t.skip('this queue cannot withdraw')
      const task = someTask()
      await queue.publish(task)
      await queue.withdraw(task.id)
      assert.equal(await queue.depth(), 0)
      await queue.withdraw(task.id)
    })
  })
}

/** Consumes until `count` deliveries were handled. A handler's failed assertion fails the test. */
async function collect(
  queue: TaskQueue,
  count: number,
  handle: (delivery: Delivery) => Promise<void>,
): Promise<Delivery[]> {
  const seen: Delivery[] = []
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const consumer = await queue.consume(async (delivery) => {
    seen.push(delivery)
    await handle(delivery).catch(reject)
    if (seen.length === count) resolve()
  })
  await promise.finally(() => consumer.stop())
  return seen
}

/**
 * Takes a task and never ends it, as a worker that was killed. `without renewal` stands for one that was stopped by
 * a signal: its timers do not run.
 */
async function abandon(queue: TaskQueue, how?: 'without renewal'): Promise<Delivery> {
  const { promise, resolve } = Promise.withResolvers<Delivery>()
  const original = globalThis.setInterval
  if (how !== undefined) {
    globalThis.setInterval = ((action: () => void) => {
      const timer = original(action, 2 ** 30)
      timer.unref()
      return timer
    }) as typeof setInterval
  }
  await queue.consume((delivery) => {
    resolve(delivery)
    return delivery.lost.aborted
      ? Promise.resolve()
      : new Promise((end) => delivery.lost.addEventListener('abort', () => end()))
  })
  try {
    return await promise
  } finally {
    globalThis.setInterval = original
  }
}

function idOf(delivery: Delivery): string {
  return (delivery.message as { id: string }).id
}

function isFor(delivery: Delivery, task: { id: string }): boolean {
  return idOf(delivery) === task.id
}
