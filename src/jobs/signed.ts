import { createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from 'node:crypto'
import { changedDelivery } from './changed-delivery.ts'
import type { JobEvent, Task } from './job.ts'
import type { Log } from './log.ts'
import type { DeadTask, EventQueue, TaskQueue, WebhookQueue } from './ports.ts'
import type { WebhookDelivery } from './webhook.ts'

/**
 * Messages that whoever reaches the broker cannot forge: servers and workers share a key, and each message has the HMAC
 * of its content in `mac`. A message without a valid one is parked, as one that is no message at all. A message that is
 * sent again by others is harmless: it is for a job that is final, or hastens what happens anyway.
 */

type Kind = 'task' | 'event' | 'webhook'

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
      queue.consume(async (delivery, more) => {
        const message = opened(secret, 'task', delivery.message)
        if (message !== undefined) return handler(changedDelivery(delivery, { message }), more)
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

/**
 * Webhooks are made and sent by servers only, so they are signed with what servers have in any case: the secrets of the
 * installation, of which the first signs and all are accepted. Otherwise whoever can write to the broker could have
 * anything sent under a caller's signature.
 */
export function signedWebhooks(
  queue: WebhookQueue,
  { secrets, log }: { readonly secrets: readonly Uint8Array[]; readonly log: Log },
): WebhookQueue {
  const keys = secrets.map((each) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', each, '', 'webhook queue', 32))),
  )
  const [first] = keys
  if (first === undefined) throw new Error('signing needs a secret')
  const seal = (delivery: WebhookDelivery) => sealed<WebhookDelivery>(first, 'webhook', delivery)
  return {
    ...queue,
    publish: (delivery) => queue.publish(seal(delivery)),
    consume: (handler, options) =>
      queue.consume(async (received) => {
        const delivery = keys
          .map((key) => opened(key, 'webhook', received))
          .find((each) => each !== undefined)
        if (delivery === undefined) {
          log.error({}, 'a webhook that no server of this installation signed was dropped')
          return undefined
        }
        const again = await handler(delivery as WebhookDelivery)
        return again && { ...again, delivery: seal(again.delivery) }
      }, options),
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
