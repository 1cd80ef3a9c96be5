import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { Task } from '../../src/jobs/job.ts'
import type { DeadTask, Delivery, TaskQueue } from '../../src/jobs/ports.ts'
import { someTask } from './jobs.ts'

export interface TaskQueueKit {
  /** A queue on the kit's one store. A lease (where there is one) lasts `leaseMs`; `owner` distinguishes consumers. */
  open(options: { max: number; owner: string; leaseMs: number }): Promise<TaskQueue>
  /** Puts a message into the store as it is, valid or not. */
  inject(message: string): Promise<void>
  /** Drops what an opened queue holds of the store, as the death of its process would: nothing is closed cleanly. */
  crash(queue: TaskQueue): Promise<void>
  /** How many tasks may exceed the bound before the first is refused. */
  readonly overshoot: number
  /** Whether it hands over what was called dead, or only parks it. */
  readonly handsOverDead: boolean
  /** Whether it can take back a task, or leaves it to the worker that gets it. */
  readonly withdraws: boolean
}

/**
 * What every TaskQueue promises. Longer than most files: the promises of one port belong together. `start` creates an
 * empty store that is removed after the test.
 */
export function taskQueueContract(name: string, start: (t: TestContext) => Promise<TaskQueueKit>): void {
  const usual = { max: 100, owner: 'worker-1', leaseMs: 30_000 }

  suite(`${name} as TaskQueue`, () => {
    test('delivers what was published, in order, one at a time', async (t) => {
      const queue = await (await start(t)).open(usual)
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

    test('tells how many wait in each class', async (t) => {
      const queue = await (await start(t)).open(usual)
      assert.deepEqual(await queue.depths(), { interactive: 0, batch: 0 })
      for (const priority of ['batch', 'interactive', 'batch'] as const) {
        await queue.publish(someTask({ priority, account: priority }))
      }
      assert.deepEqual(await queue.depths(), { interactive: 1, batch: 2 })
    })

    test('keeps tasks when it is closed and opened again', async (t) => {
      const kit = await start(t)
      const first = await kit.open(usual)
      const task = someTask()
      await first.publish(task)
      await first.close()
      const [delivery] = await collect(await kit.open(usual), 1, (each) => each.ack())
      assert.deepEqual(delivery?.message, task)
    })

    test('refuses more than its bound, and takes tasks again when there is room', async (t) => {
      const kit = await start(t)
      const queue = await kit.open({ ...usual, max: 2 })
      let accepted = 0
      const untilRefused = async () => {
        for (; accepted < 20; accepted += 1) await queue.publish(someTask())
      }
      await assert.rejects(untilRefused(), { code: 'queue_full' })
      assert.ok(accepted >= 2 && accepted <= 2 + kit.overshoot, `${accepted} were accepted`)
      await collect(queue, accepted, (delivery) => delivery.ack())
      await eventually(() => queue.publish(someTask()))
      assert.equal(await queue.depth(), 1)
    })

    test('counts a retry as an attempt, and lets later tasks pass meanwhile', async (t) => {
      const queue = await (await start(t)).open(usual)
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
      const queue = await (await start(t)).open(usual)
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

    test('delivers again what a dead worker left, and counts the loss', async (t) => {
      const kit = await start(t)
      const dying = await kit.open({ ...usual, leaseMs: 200 })
      await dying.publish(someTask())
      const stuck = await abandon(dying)
      assert.deepEqual([stuck.attempt, stuck.losses], [1, 0])
      await kit.crash(dying)
      const heir = await kit.open(usual)
      const [again] = await collect(heir, 1, (delivery) => delivery.ack())
      assert.deepEqual([again?.attempt, again?.losses], [1, 1])
      await stuck.ack().catch(() => {})
      assert.equal(stuck.lost.aborted, true)
      assert.equal(await heir.depth(), 0)
    })

    test('forgets the losses of an attempt that was ended', async (t) => {
      const kit = await start(t)
      const dying = await kit.open({ ...usual, leaseMs: 200 })
      await dying.publish(someTask())
      await abandon(dying)
      await kit.crash(dying)
      const seen = await collect(await kit.open(usual), 2, (delivery) =>
        delivery.losses === 1 ? delivery.retry(1) : delivery.ack(),
      )
      assert.deepEqual(
        seen.map(({ attempt, losses }) => [attempt, losses]),
        [
          [1, 1],
          [2, 0],
        ],
      )
    })

    test('delivers interactive tasks before batch ones, and each class in order', async (t) => {
      const queue = await (await start(t)).open(usual)
      const batch = [someTask({ priority: 'batch' }), someTask({ priority: 'batch' })]
      const interactive = [someTask(), someTask({ priority: 'interactive' })]
      for (const task of [...batch, ...interactive]) await queue.publish(task)
      const late = someTask()
      const seen = await collect(queue, 5, async (delivery) => {
        if (isFor(delivery, batch[0] as Task)) await queue.publish(late)
        await delivery.ack()
      })
      const order = [...interactive, batch[0] as Task, late, batch[1] as Task]
      assert.deepEqual(
        seen.map(idOf),
        order.map((task) => task.id),
      )
    })

    test('serves the accounts of a class in turn, each in order, whatever the others sent before', async (t) => {
      const queue = await (await start(t)).open(usual)
      const accounts = ['ann', 'bob', 'cid']
      const tasksOf = (lane: number, count: number, priority: 'interactive' | 'batch') =>
        Array.from({ length: count }, () => someTask({ account: accounts[lane] as string, priority }))
      // a queue that can tell accounts apart ignores the lane
      const publish = async (lane: number, tasks: readonly Task[]) => {
        for (const task of tasks) await queue.publish(task, { lane })
      }
      const batch = [tasksOf(0, 6, 'batch'), tasksOf(1, 6, 'batch')] as const
      const [many, one] = [tasksOf(0, 20, 'interactive'), tasksOf(1, 1, 'interactive')]
      await publish(0, batch[0])
      await publish(1, batch[1])
      await publish(0, many)
      await publish(1, one)
      const late = tasksOf(2, 1, 'interactive')
      const seen = await collect(queue, 34, async (delivery) => {
        if (isFor(delivery, many[9] as Task)) await publish(2, late)
        await delivery.ack()
      })
      const order = seen.map(idOf)
      const placesOf = (tasks: readonly Task[]) => tasks.map(({ id }) => order.indexOf(id))
      for (const tasks of [...batch, many])
        assert.deepEqual(
          placesOf(tasks),
          placesOf(tasks).toSorted((a, b) => a - b),
        )
      assert.ok((placesOf(one)[0] ?? 99) < 2, `behind one job, not 20: ${placesOf(one)}`)
      const atTen = order.indexOf(many[9]?.id ?? '')
      assert.ok((placesOf(late)[0] ?? 99) <= atTen + 2, `${placesOf(late)} after ${atTen}`)
      assert.ok(Math.min(...placesOf(batch.flat())) === 22, 'batch after all interactive ones')
      // two with many alternate
      for (let n = 0; n < 6; n += 1) {
        const pair = [placesOf(batch[0])[n] ?? 0, placesOf(batch[1])[n] ?? 0]
        assert.deepEqual(
          pair.toSorted((a, b) => a - b),
          [22 + 2 * n, 23 + 2 * n],
        )
      }
    })

    test('holds its bound for all accounts of a class together', async (t) => {
      const kit = await start(t)
      const queue = await kit.open({ ...usual, max: 4 })
      let accepted = 0
      const untilRefused = async () => {
        for (; accepted < 20; accepted += 1) {
          const account = ['ann', 'bob', 'cid'][accepted % 3] as string
          await queue.publish(someTask({ account }), { lane: accepted % 3 })
        }
      }
      await assert.rejects(untilRefused(), { code: 'queue_full' })
      assert.ok(accepted >= 4 && accepted <= 4 + kit.overshoot, `${accepted} were accepted`)
      assert.equal(await queue.depth(), accepted)
      await collect(queue, accepted, (delivery) => delivery.ack())
      await eventually(() => queue.publish(someTask()))
    })

    test('holds nothing back in a worker that is busy', async (t) => {
      const kit = await start(t)
      const busy = await kit.open({ ...usual, owner: 'busy' })
      const working = Promise.withResolvers<void>()
      const done = Promise.withResolvers<void>()
      const consumer = await busy.consume(async (delivery) => {
        working.resolve()
        await done.promise
        await delivery.ack()
      })
      await busy.publish(someTask({ priority: 'batch' }))
      await working.promise
      const waiting = [someTask(), someTask({ priority: 'batch' }), someTask()]
      for (const task of waiting) await busy.publish(task)
      const seen = await collect(await kit.open({ ...usual, owner: 'idle' }), 3, (each) => each.ack())
      assert.deepEqual(seen.map(idOf).toSorted(), waiting.map((task) => task.id).toSorted())
      done.resolve()
      await consumer.stop()
    })

    test('delivers the next task beside one whose handler asks for it, and stops after both', async (t) => {
      const queue = await (await start(t)).open(usual)
      const tasks = [someTask(), someTask(), someTask()]
      for (const task of tasks) await queue.publish(task)
      const [seen, ended]: [string[], string[]] = [[], []]
      const both = Promise.withResolvers<void>()
      const done = Promise.withResolvers<void>()
      const consumer = await queue.consume(async (delivery, more) => {
        seen.push(idOf(delivery))
        if (seen.length === 1) {
          more()
          more()
        } else both.resolve()
        await done.promise
        await delivery.ack()
        ended.push(idOf(delivery))
      })
      await both.promise
      const stopped = consumer.stop()
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.deepEqual([seen.length, ended], [2, []], 'one for each time that it was asked')
      done.resolve()
      await stopped
      assert.deepEqual(ended.toSorted(), seen.toSorted())
      await collect(queue, 1, (delivery) => delivery.ack())
      assert.equal(await queue.depth(), 0)
    })

    test('wakes consumers that wait, each task for one of them', async (t) => {
      const kit = await start(t)
      const seen: Delivery[] = []
      const all = Promise.withResolvers<void>()
      const consumers = []
      for (const owner of ['one', 'two', 'three']) {
        const queue = await kit.open({ ...usual, owner })
        const handler = async (delivery: Delivery) => {
          seen.push(delivery)
          await delivery.ack()
          if (seen.length === 12) all.resolve()
        }
        consumers.push(await queue.consume(handler))
      }
      const server = await kit.open({ ...usual, owner: 'server' })
      await new Promise((resolve) => setTimeout(resolve, 300))
      const tasks = Array.from({ length: 12 }, (_, n) => someTask(n % 2 === 0 ? {} : { priority: 'batch' }))
      await Promise.all(tasks.map((task) => server.publish(task)))
      await all.promise
      await Promise.all(consumers.map((consumer) => consumer.stop()))
      assert.deepEqual(seen.map(idOf).toSorted(), tasks.map((task) => task.id).toSorted())
      // a broker may count a task as lost that was on its way to a consumer which had just stopped waiting
      assert.ok(seen.every(({ attempt, losses }) => attempt === 1 && losses <= 1))
    })

    test('keeps a lease for as long as the handler works', async (t) => {
      const kit = await start(t)
      const slow = await kit.open({ ...usual, owner: 'slow', leaseMs: 1000 })
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
      const other = await kit.open({ ...usual, owner: 'other' })
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
      const kit = await start(t)
      const queue = await kit.open(usual)
      await kit.inject('{"half of a ta')
      const seen = await collect(queue, 1, (delivery) => delivery.dead('no task'))
      assert.equal(seen[0]?.message, '{"half of a ta')
      assert.equal(await queue.depth(), 0)
    })

    test('hands over what was called dead, once it was handled well, if it can', async (t) => {
      const kit = await start(t)
      const queue = await kit.open(usual)
      const task = someTask()
      await queue.publish(task)
      await collect(queue, 1, (delivery) => delivery.dead('of no use'))
      const seen: DeadTask[] = []
      const handled = Promise.withResolvers<void>()
      const consumer = await queue.consumeDead(async (dead) => {
        seen.push(dead)
        if (seen.length === 1) throw new Error('not this time')
        handled.resolve()
      })
      if (kit.handsOverDead) await handled.promise
      await consumer.stop()
      const dead = { message: task, reason: 'of no use' }
      assert.deepEqual(seen, kit.handsOverDead ? [dead, dead] : [])
    })

    test('stops after the task in work', async (t) => {
      const queue = await (await start(t)).open(usual)
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
      const kit = await start(t)
      const queue = await kit.open(usual)
      const task = someTask()
      await queue.publish(task)
      await queue.withdraw(task.id)
      await queue.withdraw(task.id)
      assert.equal(await queue.depth(), kit.withdraws ? 0 : 1)
    })
  })
}

/** Consumes until `count` deliveries were handled. A handler's failed assertion fails the test. */
export async function collect(
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

/** Takes a task and never ends it, like a killed worker. */
export async function abandon(queue: TaskQueue): Promise<Delivery> {
  const { promise, resolve } = Promise.withResolvers<Delivery>()
  await queue.consume((delivery) => {
    resolve(delivery)
    return delivery.lost.aborted
      ? Promise.resolve()
      : new Promise((end) => delivery.lost.addEventListener('abort', () => end()))
  })
  return promise
}

/** Space is freed when an acknowledgement arrives, which is not awaited. */
async function eventually(action: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await action()
    } catch (thrown) {
      if (tries === 100) throw thrown
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

function idOf(delivery: Delivery): string {
  return (delivery.message as { id: string }).id
}

function isFor(delivery: Delivery, task: { id: string }): boolean {
  return idOf(delivery) === task.id
}
