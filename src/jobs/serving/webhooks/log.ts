import { createHash } from 'node:crypto'
import { Value } from 'typebox/value'
import { bestEffort, type Log } from '../../log.ts'
import type { StatusStore } from '../../ports.ts'
import { type WebhookDelivery, WebhookLog, type WebhookTry } from '../../webhook.ts'

/** What the status store keeps of deliveries. It is told to callers and saves work; no delivery depends on it. */

export interface WebhookLogDeps {
  readonly status: StatusStore
  readonly ttlSeconds: number
  readonly log: Log
}

const mostTries = 20
const goneSeconds = 86_400

/** Rejects `unavailable`. Undefined if nothing is known. */
export async function readLog({ status }: WebhookLogDeps, name: string): Promise<WebhookLog | undefined> {
  const text = await status.noted(nameOf(name))
  if (text === undefined) return undefined
  const read: unknown = JSON.parse(text)
  return Value.Check(WebhookLog, read) ? read : undefined
}

/** The log of a delivery that was just put on the queue: earlier tries of the same event stay in it. */
export async function noteQueued(deps: WebhookLogDeps, delivery: WebhookDelivery): Promise<WebhookLog> {
  const { id: event, url, queued_at } = delivery
  const earlier = await bestEffort(deps.log, 'reading a log of deliveries', readLog(deps, delivery.log))
  const log = { event, url: withoutQuery(url), queued_at, tries: earlier?.tries ?? [] }
  await write(deps, delivery.log, log)
  return log
}

export async function noteTry(
  deps: WebhookLogDeps,
  delivery: WebhookDelivery,
  tried: WebhookTry,
): Promise<void> {
  const { id: event, url, queued_at } = delivery
  const earlier = await bestEffort(
    deps.log,
    'reading a log of deliveries',
    readLog(deps, delivery.log),
    'debug',
  )
  const tries = [...(earlier?.tries ?? []), tried].slice(-mostTries)
  await write(deps, delivery.log, { event, url: withoutQuery(url), queued_at, tries })
}

async function write(
  { status, ttlSeconds, log }: WebhookLogDeps,
  name: string,
  content: WebhookLog,
): Promise<void> {
  // from now on at least as long as a job is kept
  const noted = status.note(nameOf(name), JSON.stringify(content), Math.max(ttlSeconds, goneSeconds))
  await bestEffort(log, 'writing a log of deliveries', noted, 'debug')
}

/** A receiver that answered 410 wants nothing more: it gets nothing from this caller for a day. */
export async function noteGone({ status, log }: WebhookLogDeps, delivery: WebhookDelivery): Promise<void> {
  await bestEffort(log, 'noting that a receiver is gone', status.note(goneName(delivery), '410', goneSeconds))
}

export async function isGone({ status, log }: WebhookLogDeps, delivery: WebhookDelivery): Promise<boolean> {
  const noted = status.noted(goneName(delivery))
  return (await bestEffort(log, 'looking whether a receiver is gone', noted, 'debug')) !== undefined
}

function nameOf(name: string): string {
  return `webhook:${name}`
}

function goneName({ caller, url }: WebhookDelivery): string {
  return `webhook-gone:${createHash('sha256').update(`${caller} ${url}`).digest('base64url')}`
}

/** A query may be a password. */
function withoutQuery(url: string): string {
  const { origin, pathname, search } = new URL(url)
  return origin + pathname + (search === '' ? '' : '?...')
}
