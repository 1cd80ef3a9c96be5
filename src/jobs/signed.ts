import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { JobEvent, Task } from './job.ts'
import type { Log } from './log.ts'
import type { DeadTask, Delivery, EventQueue, TaskQueue } from './ports.ts'

/**
 * Messages that whoever reaches the broker cannot forge: servers and workers share a key, and each message has the HMAC
 * of its content in `mac`. A message without a valid one is parked, as one that is no message at all. A message that is
 * sent again by others is harmless: it is for a job that is final, or hastens what happens anyway.
 */

type Kind = 'task' | 'event'

export interface SignOptions {
  readonly key: Uint8Array
  readonly log: Log
}

export function signedTasks(queue: TaskQueue, { key, log }: SignOptions): TaskQueue {
  const secret = createSecretKey(key)
  return {
    ...queue,
    publish: (task, options) => queue.publish(sealed<Task>(secret, 'task', task), options),
    consume: (handler) =>
      queue.consume(async (delivery) => {
        const message = opened(secret, 'task', delivery.message)
        if (message !== undefined) return handler(withMessage(delivery, message))
        log.error({}, 'a task that is not signed with PACKSHOT_MESSAGE_KEY was parked')
        return delivery.dead('not signed with PACKSHOT_MESSAGE_KEY')
      }),
    consumeDead: (handler) =>
      queue.consumeDead(({ message, reason }: DeadTask) =>
        handler({ message: opened(secret, 'task', message), reason }),
      ),
  }
}

export function signedEvents(events: EventQueue, { key, log }: SignOptions): EventQueue {
  const secret = createSecretKey(key)
  return {
    ...events,
    publish: (event) => events.publish(sealed<JobEvent>(secret, 'event', event)),
    consume: (handler) =>
      events.consume(async (received) => {
        const event = opened(secret, 'event', received)
        if (event !== undefined) return handler(event as JobEvent)
        log.error({ job: received.id }, 'an event that is not signed with PACKSHOT_MESSAGE_KEY was dropped')
      }),
  }
}

/** The endings of a delivery may be methods that need it. */
function withMessage(delivery: Delivery, message: object): Delivery {
  return {
    message,
    attempt: delivery.attempt,
    losses: delivery.losses,
    lost: delivery.lost,
    ack: () => delivery.ack(),
    retry: (delayMs) => delivery.retry(delayMs),
    giveBack: (delayMs) => delivery.giveBack(delayMs),
    dead: (reason) => delivery.dead(reason),
  }
}

function sealed<T extends object>(secret: KeyObject, kind: Kind, message: T): T {
  return { ...message, mac: macOf(secret, kind, message) }
}

/** The message without its `mac`; undefined if that is not the right one. */
function opened(secret: KeyObject, kind: Kind, received: unknown): object | undefined {
  if (typeof received !== 'object' || received === null || !('mac' in received)) return undefined
  const { mac, ...message } = received
  if (typeof mac !== 'string') return undefined
  const [given, right] = [Buffer.from(mac), Buffer.from(macOf(secret, kind, message))]
  return given.length === right.length && timingSafeEqual(given, right) ? message : undefined
}

/** JSON keeps the order of fields, so what was parsed has the same text again. */
function macOf(secret: KeyObject, kind: Kind, message: object): string {
  return createHmac('sha256', secret)
    .update(`${kind}:${JSON.stringify(message)}`)
    .digest('base64url')
}
