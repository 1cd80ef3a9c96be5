import { Value } from 'typebox/value'
import { JobEvent } from '../../jobs/job.ts'
import type { Consumer, EventQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import type { Broker } from './broker.ts'
import { untilDone } from './channel-loop.ts'
import { bytesOf, contentOf, countOf, failuresHeader, type Received, reasonHeader } from './message.ts'
import { startPushConsumer } from './push-consumer.ts'
import type { Route } from './topology.ts'

export interface EventQueueOptions {
  /** The pause before an event is redelivered after its handler failed, doubled for each further failure. */
  readonly retryMs?: number
}

const prefetch = 16

/**
 * Events as messages, shared by all servers. Several are handled at the same time, started in order. Closing it stops
 * its consumers, not the broker.
 */
export function rabbitEventQueue(broker: Broker, { retryMs = 1000 }: EventQueueOptions = {}): EventQueue {
  const { topology, log } = broker
  const consumers = new Set<Consumer>()

  const handle = async (
    message: Received,
    signal: AbortSignal,
    handler: (event: JobEvent) => Promise<void>,
  ) => {
    const move = (route: Route, headers: Record<string, string | number>) =>
      untilDone(log, 'republishing an event', signal, () =>
        broker.publish(route, { body: bytesOf(message), messageId: message.messageId, headers }),
      )
    const event = contentOf(message)
    if (!Value.Check(JobEvent, event)) {
      log.error({ event }, 'a message that is not an event was parked')
      return move(topology.parked(), { [reasonHeader]: 'not an event' })
    }
    try {
      await handler(event)
    } catch (err) {
      const failures = countOf(message, failuresHeader, 0)
      log.warn({ err, job: event.id, failures }, 'an event could not be handled; it will be redelivered')
      const pause = doubled({ firstMs: retryMs, longestMs: retryMs * 2 ** 10 }, failures + 1)
      await move(topology.eventAgain(pause), { [failuresHeader]: failures + 1 })
    }
  }

  return {
    publish: (event) =>
      broker.publish(topology.event(event.status), {
        body: Buffer.from(JSON.stringify(event)),
        messageId: event.id,
      }),
    async consume(handler) {
      const consumer = startPushConsumer(broker, {
        who: 'the event consumer',
        queue: topology.statusQueue,
        prefetch,
        handle: (message, signal) => handle(message, signal, handler),
      })
      consumers.add(consumer)
      return consumer
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}
