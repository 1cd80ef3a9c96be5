import { AppError } from '../../jobs/errors.ts'
import type { Consumer, DeadTask, TaskQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import type { Broker } from './broker.ts'
import { untilDone } from './channel-loop.ts'
import { closeChannel } from './connection.ts'
import { isMissing } from './faults.ts'
import {
  bytesOf,
  contentOf,
  countOf,
  failuresHeader,
  type Received,
  reasonHeader,
  reasonOf,
} from './message.ts'
import { startPushConsumer } from './push-consumer.ts'
import { startTaskConsumer } from './task-consumer.ts'
import { orAfter } from './time-limit.ts'

export interface TaskQueueOptions {
  /** The pause before a dead task is redelivered after its handler failed, doubled for each further failure. */
  readonly deadRetryMs?: number
}

const depthMs = 5000

/** Tasks as messages in quorum queues; see topology.ts. Closing it stops its consumers, not the broker. */
export function rabbitTaskQueue(broker: Broker, { deadRetryMs = 1000 }: TaskQueueOptions = {}): TaskQueue {
  const { topology, log } = broker
  const consumers = new Set<Consumer>()
  const keep = (consumer: Consumer) => {
    consumers.add(consumer)
    return consumer
  }

  const park = (message: Received, reason: string) =>
    broker.publish(topology.parked(), {
      body: bytesOf(message),
      messageId: message.messageId,
      headers: { [reasonHeader]: reason },
    })
  const later = (message: Received, reason: string) => {
    const failures = countOf(message, failuresHeader, 0)
    const pause = doubled({ firstMs: deadRetryMs, longestMs: deadRetryMs * 2 ** 7 }, failures + 1)
    return broker.publish(topology.dead(pause), {
      body: bytesOf(message),
      messageId: message.messageId,
      headers: { [reasonHeader]: reason, [failuresHeader]: failures + 1 },
    })
  }
  const handleDead = async (
    message: Received,
    signal: AbortSignal,
    handler: (dead: DeadTask) => Promise<void>,
  ) => {
    const reason = reasonOf(message)
    let next = park
    try {
      await handler({ message: contentOf(message), reason })
    } catch (err) {
      log.warn(
        { err, job: message.messageId, reason },
        'a dead-lettered task could not be handled; it will be redelivered',
      )
      next = later
    }
    await untilDone(log, 'republishing a dead-lettered task', signal, () => next(message, reason))
  }

  return {
    publish: (task) =>
      broker.publish(topology.newTask(task.priority ?? 'interactive'), {
        body: Buffer.from(JSON.stringify(task)),
        messageId: task.id,
      }),
    async consume(handler) {
      return keep(startTaskConsumer(broker, handler))
    },
    depth: () => depth(broker),
    async consumeDead(handler) {
      const subscription = {
        who: 'the dead-letter consumer',
        queue: topology.deadQueue,
        // a task whose handling kills the server must not take others with it
        prefetch: 1,
        handle: (message: Received, signal: AbortSignal) => handleDead(message, signal, handler),
      }
      return keep(startPushConsumer(broker, subscription))
    },
    /** A message cannot be picked out of a queue. */
    withdraws: false,
    async withdraw() {
      return false
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}

/** Counts tasks that no worker has, including those that wait for another attempt. */
async function depth(broker: Broker): Promise<number> {
  const { consuming, topology } = broker
  const away = (cause?: unknown): never => {
    throw new AppError('unavailable', 'The message broker does not answer.', { cause })
  }
  if (!consuming.ready) return away()
  const count = async () => {
    const channel = await consuming.open()
    try {
      let sum = 0
      for (const queue of topology.waiting) {
        sum += (await channel.queueDeclare({ queue, passive: true })).messageCount
      }
      return sum
    } finally {
      await closeChannel(channel)
    }
  }
  try {
    return await orAfter(depthMs, count(), away)
  } catch (thrown) {
    if (isMissing(thrown)) await broker.redeclare()
    return thrown instanceof AppError ? away(thrown.cause) : away(thrown)
  }
}
