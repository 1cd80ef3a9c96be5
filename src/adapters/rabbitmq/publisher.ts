import { setImmediate as turn } from 'node:timers/promises'
import type { Channel } from 'rabbitmq-client'
import { AppError } from '../../jobs/errors.ts'
import type { Link } from './connection.ts'
import { codeOf } from './faults.ts'
import type { Route } from './topology.ts'

interface Outgoing {
  readonly body: Buffer
  readonly messageId: string | undefined
  readonly headers?: Readonly<Record<string, string | number>>
}

/**
 * Resolves when the broker has the message on its disk, in a queue. Rejects an `AppError` within the time limit:
 * `queue_full` if the route has a bound and it is reached, `unavailable` if the message is not known to be in a queue
 * (it may be, if the confirm was lost: messages are handled more than once anyway). Rejects at once when not
 * connected, and when the broker is out of disk or memory.
 */
export type Publish = (route: Route, message: Outgoing) => Promise<void>

interface OpenChannel {
  readonly channel: Channel
  /** Publishes that no queue took. */
  readonly returned: Set<string>
}

/** `onMissing` is called when a queue or exchange is missing. */
export function createPublisher(link: Link, confirmMs: number, onMissing: () => void): Publish {
  let open: OpenChannel | undefined
  let opening: Promise<OpenChannel> | undefined
  let serial = 0
  const waiting = new Set<(fault: AppError) => void>()
  link.onBlocked(() => {
    for (const reject of waiting) reject(away('accepts no messages: it is short of disk or memory'))
  })

  const current = async () => {
    if (open?.channel.active === true) return open
    opening ??= openConfirming(link).finally(() => {
      opening = undefined
    })
    open = await opening
    return open
  }

  const send = async (route: Route, message: Outgoing) => {
    const { channel, returned } = await current()
    serial += 1
    const correlationId = String(serial)
    const { exchange, routingKey, waitMs } = route
    const properties = {
      contentType: 'application/json',
      correlationId,
      ...(message.messageId === undefined ? {} : { messageId: message.messageId }),
      ...(message.headers === undefined ? {} : { headers: { ...message.headers } }),
      ...(waitMs === undefined ? {} : { expiration: String(waitMs) }),
    }
    const how = { exchange, routingKey, mandatory: true, durable: true }
    try {
      await channel.basicPublish({ ...how, ...properties }, message.body)
    } catch (thrown) {
      throw explain(thrown, route, onMissing)
    }
    // the library reports the confirm at once, but a return that came before it only a turn later
    await turn()
    if (!returned.delete(correlationId)) return
    onMissing()
    throw away(`has no queue for ${routingKey}`)
  }

  return (route, message) => {
    if (!link.ready) return Promise.reject(away('cannot be reached, or accepts no messages'))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => reject(away('does not answer')), confirmMs)
    waiting.add(reject)
    send(route, message).then(resolve, (thrown: unknown) =>
      reject(thrown instanceof AppError ? thrown : away('was lost', thrown)),
    )
    return promise.finally(() => {
      clearTimeout(timer)
      waiting.delete(reject)
    })
  }
}

async function openConfirming(link: Link): Promise<OpenChannel> {
  const channel = await link.open()
  await channel.confirmSelect()
  const returned = new Set<string>()
  channel.on('basic.return', (message) => returned.add(message.correlationId ?? ''))
  return { channel, returned }
}

function explain(thrown: unknown, route: Route, onMissing: () => void): AppError {
  const code = codeOf(thrown)
  if (code === 'NOT_FOUND') onMissing()
  if (code !== 'NACK') return away('disconnected before it answered', thrown)
  if (route.max === undefined) return away(`refused a message for ${route.routingKey}`, thrown)
  return queueFull(route.max, thrown, route.holds)
}

export function queueFull(max: number, cause?: unknown, what = 'jobs'): AppError {
  const message = `${max} ${what} are already waiting, the maximum for this installation.`
  return new AppError('queue_full', message, cause === undefined ? {} : { cause })
}

function away(how: string, cause?: unknown): AppError {
  return new AppError('unavailable', `The message broker ${how}.`, cause === undefined ? {} : { cause })
}
