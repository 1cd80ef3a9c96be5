import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { Consumer, WebhookAgain, WebhookQueue } from '../../src/jobs/ports.ts'
import type { WebhookDelivery } from '../../src/jobs/webhook.ts'
import { lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'

export interface WebhookQueueKit {
  /** A queue on one empty store, of a consumer of this name, that takes at most so many (absent: many) untried deliveries. */
  open(options?: { readonly name?: string; readonly max?: number }): Promise<WebhookQueue>
  /** Puts a message there that is no delivery. */
  inject(message: string): Promise<void>
}

let serial = 0
export function someDelivery(changes: Partial<WebhookDelivery> = {}): WebhookDelivery {
  serial += 1
  return {
    v: 1,
    id: `evt_${serial}`,
    caller: 'anonymous',
    url: 'https://shop.example.com/hook',
    body: `{"type":"job.succeeded","n":${serial}}`,
    queued_at: new Date().toISOString(),
    failures: 0,
    deferrals: 0,
    log: `job ${serial}`,
    ...changes,
  }
}

type Handler = (delivery: WebhookDelivery) => Promise<WebhookAgain | undefined>

/** What every WebhookQueue promises. */
export function webhookQueueContract(
  name: string,
  start: (t: TestContext) => Promise<WebhookQueueKit>,
): void {
  suite(`${name} as WebhookQueue`, () => {
    const collecting = async (
      queue: WebhookQueue,
      handle: Handler = async () => undefined,
      concurrency = 4,
    ) => {
      const seen: WebhookDelivery[] = []
      const consumer: Consumer = await queue.consume(
        async (delivery) => {
          seen.push(delivery)
          return handle(delivery)
        },
        { concurrency },
      )
      return { seen, consumer }
    }

    test('delivers what was published before it was opened, as it is, and once', async (t) => {
      const kit = await start(t)
      const writer = await kit.open({ name: 'writer' })
      const deliveries = [someDelivery(), someDelivery(), someDelivery()]
      for (const each of deliveries) await writer.publish(each)
      await writer.close()
      const reader = await kit.open()
      const { seen, consumer } = await collecting(reader)
      await waitFor(() => seen.length === 3)
      await consumer.stop()
      const byId = (a: WebhookDelivery, b: WebhookDelivery) => (a.id < b.id ? -1 : 1)
      assert.deepEqual(seen.toSorted(byId), deliveries.toSorted(byId))
      const marker = someDelivery()
      await reader.publish(marker)
      const later = await collecting(await kit.open({ name: 'other' }))
      await waitFor(() => later.seen.length > 0)
      assert.deepEqual(later.seen, [marker])
    })

    test('brings a delivery again as its handler left it, after the delay, and others meanwhile', async (t) => {
      const kit = await start(t)
      const queue = await kit.open()
      const [first, second] = [someDelivery(), someDelivery()]
      await queue.publish(first)
      await queue.publish(second)
      const { seen } = await collecting(queue, async (delivery) =>
        delivery.id === first.id && delivery.failures < 2
          ? { delivery: { ...delivery, failures: delivery.failures + 1 }, delayMs: delivery.failures * 300 }
          : undefined,
      )
      await waitFor(() => seen.length === 4)
      assert.deepEqual(
        seen.filter(({ id }) => id === first.id),
        [0, 1, 2].map((failures) => ({ ...first, failures })),
      )
      assert.equal(seen.filter(({ id }) => id === second.id).length, 1)
    })

    test('tells how many are on their way', async (t) => {
      const kit = await start(t)
      const queue = await kit.open()
      for (const each of [someDelivery(), someDelivery()]) await queue.publish(each)
      assert.equal(await queue.depth(), 2)
      // what comes again later still counts
      let handled = 0
      await collecting(queue, async (delivery) => {
        handled += 1
        return handled === 1 ? { delivery, delayMs: 600_000 } : undefined
      })
      await waitFor(async () => handled === 2 && (await queue.depth()) === 1)
    })

    test('brings a delivery again when its handler rejects', async (t) => {
      const kit = await start(t)
      const queue = await kit.open()
      const delivery = someDelivery()
      await queue.publish(delivery)
      let failed = false
      const { seen } = await collecting(queue, async () => {
        if (failed) return undefined
        failed = true
        throw new Error('not this time')
      })
      await waitFor(() => seen.length === 2)
      assert.deepEqual(seen, [delivery, delivery])
    })

    test('handles several at a time, at most as many as it was told, and one that hangs holds up no other', async (t) => {
      const kit = await start(t)
      const queue = await kit.open()
      const hanging = Promise.withResolvers<void>()
      lastFirst(t).after(() => hanging.resolve())
      let [now, most] = [0, 0]
      const [first, ...others] = Array.from({ length: 12 }, () => someDelivery())
      const { seen } = await collecting(
        queue,
        async ({ id }) => {
          now += 1
          most = Math.max(most, now)
          if (id === first?.id) await hanging.promise
          now -= 1
          return undefined
        },
        4,
      )
      for (const each of [first, ...others]) await queue.publish(each as WebhookDelivery)
      await waitFor(() => seen.length === 12)
      assert.ok(most <= 4, `${most} at a time`)
      hanging.resolve()
    })

    test('delivers to one of two consumers', async (t) => {
      const kit = await start(t)
      const [one, other] = [await kit.open({ name: 'one' }), await kit.open({ name: 'other' })]
      const both = [await collecting(one), await collecting(other)]
      const deliveries = Array.from({ length: 20 }, () => someDelivery())
      for (const each of deliveries) await one.publish(each)
      const seen = () => both.flatMap((each) => each.seen.map(({ id }) => id))
      await waitFor(() => seen().length >= 20)
      await Promise.all(both.map(({ consumer }) => consumer.stop()))
      assert.deepEqual(seen().toSorted(), deliveries.map(({ id }) => id).toSorted())
    })

    test('passes over a message that is no delivery', async (t) => {
      const kit = await start(t)
      const queue = await kit.open()
      for (const message of ['{', '"text"', '{"v":2}', '{"v":1,"id":"../x"}']) await kit.inject(message)
      const delivery = someDelivery()
      await queue.publish(delivery)
      const { seen } = await collecting(queue)
      await waitFor(() => seen.length > 0)
      assert.deepEqual(seen, [delivery])
    })

    test('refuses more than its bound until there is room, and what comes again does not count', async (t) => {
      const kit = await start(t)
      const queue = await kit.open({ max: 2 })
      const refused = () =>
        queue.publish(someDelivery()).then(
          () => false,
          ({ code }) => code === 'queue_full',
        )
      await waitFor(refused)
      const { seen, consumer } = await collecting(queue, async (delivery) => ({ delivery, delayMs: 60_000 }))
      await waitFor(() => seen.length >= 2)
      await consumer.stop()
      await waitFor(async () => !(await refused()))
    })
  })
}
