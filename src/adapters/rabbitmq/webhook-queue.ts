import { Value } from 'typebox/value'
import type { Consumer, WebhookAgain, WebhookQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import { WebhookDelivery } from '../../jobs/webhook.ts'
import type { Broker } from './broker.ts'
import { untilDone } from './channel-loop.ts'
import { depthOf, sharing } from './depth.ts'
import { bytesOf, contentOf, countOf, failuresHeader, type Received, reasonHeader } from './message.ts'
import { startPushConsumer } from './push-consumer.ts'
import type { Route } from './topology.ts'

export interface WebhookQueueOptions {
  /** The pause before a delivery comes again after its handler failed, doubled for each further failure. */
  readonly retryMs?: number
}

const depthMs = 5000

type Handler = (delivery: WebhookDelivery) => Promise<WebhookAgain | undefined>

/**
 * Webhooks as messages, shared by all servers. Those that were not tried yet have a queue of their own, so that many that
 * come again do not keep them waiting. Closing it stops its consumers, not the broker.
 */
export function rabbitWebhookQueue(
  broker: Broker,
  { retryMs = 1000 }: WebhookQueueOptions = {},
): WebhookQueue {
  const { topology, log } = broker
  const consumers = new Set<Consumer>()
  const depth = sharing(() => depthOf(broker.consuming, topology.webhooks, depthMs))

  const handle = async (message: Received, signal: AbortSignal, handler: Handler) => {
    const move = (route: Route, body: Buffer, headers?: Record<string, string | number>) =>
      untilDone(log, 'republishing a webhook', signal, () =>
        broker.publish(route, { body, messageId: message.messageId, ...(headers && { headers }) }),
      )
    const delivery = contentOf(message)
    if (!Value.Check(WebhookDelivery, delivery)) {
      log.error({}, 'a message that is not a webhook was parked')
      return move(topology.parked(), bytesOf(message), { [reasonHeader]: 'not a webhook' })
    }
    let again: WebhookAgain | undefined
    try {
      again = await handler(delivery)
    } catch (err) {
      const failures = countOf(message, failuresHeader, 0) + 1
      log.warn({ err, event: delivery.id, failures }, 'a webhook could not be handled; it comes again')
      const pause = doubled({ firstMs: retryMs, longestMs: retryMs * 2 ** 10 }, failures)
      return move(topology.webhookAgain(pause), bytesOf(message), { [failuresHeader]: failures })
    }
    if (again === undefined) return
    await move(topology.webhookAgain(again.delayMs), Buffer.from(JSON.stringify(again.delivery)))
  }

  return {
    publish: (delivery) =>
      broker.publish(topology.webhook(), {
        body: Buffer.from(JSON.stringify(delivery)),
        messageId: delivery.id,
      }),
    async consume(handler, { concurrency }) {
      const { fresh, returned } = topology.webhookQueues
      const subscribed = [fresh, returned].map((queue) =>
        startPushConsumer(broker, {
          who: 'the consumer of webhooks',
          queue,
          prefetch: Math.max(1, Math.floor(concurrency / 2)),
          handle: (message, signal) => handle(message, signal, handler),
        }),
      )
      const consumer = {
        async stop() {
          await Promise.all(subscribed.map((each) => each.stop()))
        },
      }
      consumers.add(consumer)
      return consumer
    },
    depth,
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}
