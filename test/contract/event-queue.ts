import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { JobEvent } from '../../src/jobs/job.ts'
import type { EventQueue } from '../../src/jobs/ports.ts'
import { testIds } from './jobs.ts'

/** What every EventQueue promises. `start` returns a way to open queues on one empty store. */
export function eventQueueContract(
  name: string,
  start: (t: TestContext) => Promise<() => Promise<EventQueue>>,
): void {
  suite(`${name} as EventQueue`, () => {
    test('delivers events in order, also those of before it was opened', async (t) => {
      const open = await start(t)
      const writer = await open()
      const events = [someEvent(), someEvent(), someEvent()]
      for (const event of events) await writer.publish(event)
      await writer.close()
      assert.deepEqual(await collect(await open(), 3), events)
    })

    test('delivers an event again when its handler rejects, and others meanwhile', async (t) => {
      const queue = await (await start(t))()
      const [first, second] = [someEvent(), someEvent()]
      await queue.publish(first)
      await queue.publish(second)
      const ids: string[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      // the first fails until the second was delivered: an order by how fast this machine is would prove nothing
      const consumer = await queue.consume(async ({ id }) => {
        const again = ids.includes(first.id)
        ids.push(id)
        if (id !== first.id) return
        if (!again || !ids.includes(second.id)) throw new Error('not this time')
        resolve()
      })
      await promise
      await consumer.stop()
      assert.equal(ids[0], first.id)
      assert.equal(ids.at(-1), first.id)
      assert.equal(ids.filter((id) => id === second.id).length, 1)
    })

    test('does not deliver a handled event again', async (t) => {
      const open = await start(t)
      const queue = await open()
      await queue.publish(someEvent())
      await collect(queue, 1)
      const marker = someEvent()
      await queue.publish(marker)
      assert.deepEqual(await collect(await open(), 1), [marker])
    })

    test('delivers an event to one of two consumers', async (t) => {
      const open = await start(t)
      const [one, other] = [await open(), await open()]
      const events = Array.from({ length: 20 }, someEvent)
      const seen: JobEvent[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      const handle = async (event: JobEvent) => {
        seen.push(event)
        if (seen.length === events.length) resolve()
      }
      const consumers = [await one.consume(handle), await other.consume(handle)]
      for (const event of events) await one.publish(event)
      await promise
      await Promise.all(consumers.map((consumer) => consumer.stop()))
      assert.equal(new Set(seen.map((event) => event.id)).size, events.length)
      assert.equal(seen.length, events.length)
    })
  })
}

function someEvent(): JobEvent {
  return { v: 1, id: testIds.issue(new Date()), status: 'succeeded', at: new Date().toISOString() }
}

async function collect(queue: EventQueue, count: number): Promise<JobEvent[]> {
  const seen: JobEvent[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const consumer = await queue.consume(async (event) => {
    seen.push(event)
    if (seen.length === count) resolve()
  })
  await promise
  await consumer.stop()
  return seen
}
