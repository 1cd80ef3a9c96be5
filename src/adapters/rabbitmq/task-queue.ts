import { createHash } from 'node:crypto'
import { AppError } from '../../jobs/errors.ts'
import { priorities } from '../../jobs/fields.ts'
import type { Consumer, DeadTask, TaskQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import type { Broker } from './broker.ts'
import { untilDone } from './channel-loop.ts'
import { depthOf, depthsOf, sharing } from './depth.ts'
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
import { createRoom } from './room.ts'
import { startTaskConsumer } from './task-consumer.ts'
import { lanes } from './topology.ts'

export interface TaskQueueOptions {
  /** The pause before a dead task is redelivered after its handler failed, doubled for each further failure. */
  readonly deadRetryMs?: number
}

const depthMs = 5000
/** A publish waits no longer to learn whether there is room. */
const roomMs = 1000

/** Tasks as messages in quorum queues; see topology.ts. Closing it stops its consumers, not the broker. */
export function rabbitTaskQueue(broker: Broker, { deadRetryMs = 1000 }: TaskQueueOptions = {}): TaskQueue {
  const { topology, log } = broker
  const consumers = new Set<Consumer>()
  const keep = (consumer: Consumer) => {
    consumers.add(consumer)
    return consumer
  }

  const rooms = new Map(
    priorities.map((priority) => {
      const count = () => depthOf(broker.consuming, topology.lanesOf(priority), roomMs)
      return [priority, createRoom({ max: broker.queueMax, count, log })]
    }),
  )
  const depth = sharing(() => depthOf(broker.consuming, topology.waiting, depthMs))
  const depths = sharing(async () => {
    const [interactive, batch] = [topology.waitingOf('interactive'), topology.waitingOf('batch')]
    const each = await depthsOf(broker.consuming, [...interactive, ...batch], depthMs)
    const sum = (some: number[]) => some.reduce((total, one) => total + one, 0)
    return {
      interactive: sum(each.slice(0, interactive.length)),
      batch: sum(each.slice(interactive.length)),
    }
  })
  /** A queue that is missing is declared again. */
  const declaring = async <T>(action: () => Promise<T>) => {
    try {
      return await action()
    } catch (thrown) {
      if (thrown instanceof AppError && isMissing(thrown.cause)) await broker.redeclare()
      throw thrown
    }
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
    lanes,
    async publish(task, { lane = laneByName(task.account) } = {}) {
      const priority = task.priority ?? 'interactive'
      const message = { body: Buffer.from(JSON.stringify(task)), messageId: task.id }
      const publish = () => broker.publish(topology.newTask(priority, lane), message)
      return rooms.get(priority)?.(publish)
    },
    async consume(handler) {
      return keep(startTaskConsumer(broker, handler))
    },
    /** Counts tasks that no worker has, including those that wait for another attempt. */
    depth: () => declaring(depth),
    /** Without those that wait for another attempt: their queues are for both classes. */
    depths: () => declaring(depths),
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

/** Without a status store that knows better: the same for all tasks of an account. The last lane is for others. */
function laneByName(account: string | undefined): number {
  if (account === undefined) return 0
  return createHash('sha256').update(account).digest().readUInt32BE() % (lanes - 1)
}
