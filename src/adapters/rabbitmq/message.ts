import type { AsyncMessage, SyncMessage } from 'rabbitmq-client'
import { Type } from 'typebox'
import { Value } from 'typebox/value'

/** Reads what the broker delivers. Messages may come from anyone: no value in them is trusted to have its type. */
export type Received = AsyncMessage | SyncMessage

/** 1 for the first attempt at a task; absent means 1. */
export const attemptHeader = 'x-packshot-attempt'
/** How often handling a message failed; absent means 0. */
export const failuresHeader = 'x-packshot-failures'
/** Why a message is dead or parked. */
export const reasonHeader = 'x-packshot-reason'

/** The original body; the library has already parsed it if the content type said so. */
export function bytesOf(message: Received): Buffer {
  const body: unknown = message.body
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(
    typeof body === 'string' && message.contentType === 'text/plain' ? body : JSON.stringify(body),
  )
}

/** The body as a value, or as text if it is not JSON. */
export function contentOf(message: Received): unknown {
  const text = bytesOf(message).toString()
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** A count in a header; `absent` if there is none or it is not a count. */
export function countOf(message: Received, header: string, absent: number): number {
  const value: unknown = message.headers?.[header]
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= absent ? value : absent
}

/**
 * How often it was delivered before without being ended; the broker counts. It also counts a message that was on its
 * way to a consumer which had just unsubscribed, and which it took back by itself (rabbitmq-server #3729): seldom, and
 * never twice in a row in practice.
 */
export function lossesOf(message: Received): number {
  return countOf(message, 'x-delivery-count', 0)
}

const Deaths = Type.Array(Type.Object({ reason: Type.String() }))

/** Why it is in the dead-letter queue: a worker's reason, or the broker's own (`delivery_limit`). */
export function reasonOf(message: Received): string {
  const said: unknown = message.headers?.[reasonHeader]
  if (typeof said === 'string') return said
  const deaths: unknown = message.headers?.['x-death']
  // the last death comes first; x-first-death-reason may describe an old retry
  return (Value.Check(Deaths, deaths) ? deaths[0]?.reason : undefined) ?? 'unknown'
}
