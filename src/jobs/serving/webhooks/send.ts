import { messageOf } from '../../errors.ts'
import type { Metrics } from '../../metrics.ts'
import type { Consumer, WebhookAgain, WebhookAnswer, WebhookPost, WebhookQueue } from '../../ports.ts'
import { doubled } from '../../retry.ts'
import type { WebhookDelivery } from '../../webhook.ts'
import type { WebhookSecrets } from '../../webhook-secrets.ts'
import { isGone, noteGone, noteTry, type WebhookLogDeps } from './log.ts'
import { createShares, type ShareLimits, type Shares } from './shares.ts'

/**
 * The sender: every server takes deliveries from the queue and tries them.
 *
 * A 2xx answer is success; everything else, a redirect too, is a failure and tried again by the schedule of Standard
 * Webhooks. 410 ends all tries. A receiver that has as many deliveries in work as it may, or asked for a pause, does not
 * hold up others: its delivery goes back to the queue for a moment, without counting a try.
 */
export interface SendDeps extends WebhookLogDeps {
  readonly queue: WebhookQueue
  readonly post: WebhookPost
  readonly secrets: WebhookSecrets
  /** The generation of a caller's secret. */
  readonly generationOf: (caller: string) => number
  /** `packshot/1.2.3` */
  readonly userAgent: string
  readonly now: () => Date
  readonly metrics: Metrics
}

export interface SendLimits extends ShareLimits {
  /** At the same time, by this process. */
  readonly concurrency: number
  /** Seconds before the second try, the third, and so on. */
  readonly schedule: readonly number[]
  /** Milliseconds of the first pause of a delivery that is put off; each further one is twice as long, up to a minute. */
  readonly deferMs: number
}

const hour = 3600
export const defaultSendLimits: SendLimits = {
  concurrency: 128,
  perReceiver: 4,
  perCaller: 48,
  schedule: [5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 10 * hour],
  deferMs: 1000,
}

const longestDeferMs = 60_000
/** A receiver may ask for at most this pause. */
const longestRetryAfterSeconds = 2 * hour
/** Without a Retry-After. */
const pauseSeconds = 30
const slowDown: readonly number[] = [429, 502, 504]
/** A delivery that was put off again and again ends after this. */
const longestLifeMs = 3 * 24 * hour * 1000
/** How long a request in progress may take when the process ends. */
const graceMs = 2000

export async function startSender(deps: SendDeps, limits: SendLimits = defaultSendLimits): Promise<Consumer> {
  const shares = createShares(limits)
  const stopping = new AbortController()
  const consumer = await deps.queue.consume(
    (delivery) => send(deps, limits, shares, delivery, stopping.signal),
    { concurrency: limits.concurrency },
  )
  return {
    async stop() {
      const timer = setTimeout(() => stopping.abort(), graceMs)
      await consumer.stop()
      clearTimeout(timer)
    },
  }
}

async function send(
  deps: SendDeps,
  limits: SendLimits,
  shares: Shares,
  delivery: WebhookDelivery,
  signal: AbortSignal,
): Promise<WebhookAgain | undefined> {
  const { caller, url } = delivery
  const { host } = new URL(url)
  const leave = shares.enter(caller, host)
  if (leave === undefined) return putOff(deps, limits, delivery)
  try {
    if (await isGone(deps, delivery)) return await end(deps, delivery, { reason: reasons.gone })
    const at = deps.now()
    const outcome = await tryOnce(deps, delivery, at, signal)
    // the receiver may have it: it comes again, with the same id
    if (outcome === 'aborted') return { delivery, delayMs: 0 }
    const { status, retryAfterSeconds = 0 } = outcome ?? {}
    if (status !== undefined && status >= 200 && status < 300) {
      deps.metrics.webhookDeliveries.add({ outcome: 'delivered' })
      await noteTry(deps, delivery, { at: at.toISOString(), status })
      deps.log.info({ event: delivery.id, status, failures: delivery.failures }, 'webhook delivered')
      return undefined
    }
    if (status === 410) {
      await noteGone(deps, delivery)
      return await end(deps, delivery, { status, reason: reasons.gone })
    }
    const wanted = Math.min(longestRetryAfterSeconds, retryAfterSeconds)
    if (status !== undefined && slowDown.includes(status)) {
      shares.pause(caller, host, (wanted || pauseSeconds) * 1000)
    }
    return await again(deps, limits, delivery, at, { status, wanted })
  } finally {
    leave()
  }
}

/** What callers are told. The reasons why a receiver does not answer are kept apart in the log of the service only: anybody could explore a network with them. */
const reasons = {
  unreachable: 'The receiver could not be reached, or did not answer in time.',
  refused: 'The receiver did not answer with 2xx.',
  gone: 'The receiver answered 410: it gets nothing more for a day.',
  late: 'The receiver takes its messages too slowly.',
}

/** Undefined if there was no answer. */
async function tryOnce(
  { post, secrets, generationOf, userAgent, log }: SendDeps,
  { id, caller, url, body, failures }: WebhookDelivery,
  at: Date,
  signal: AbortSignal,
): Promise<WebhookAnswer | 'aborted' | undefined> {
  const timestamp = Math.floor(at.getTime() / 1000)
  const headers = {
    'content-type': 'application/json',
    'user-agent': userAgent,
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': secrets.sign(caller, generationOf(caller), { id, timestamp, body }),
  }
  try {
    return await post(url, { headers, body, signal })
  } catch (thrown) {
    if (signal.aborted) return 'aborted'
    log.info({ event: id, failures, reason: messageOf(thrown) }, 'a webhook could not be delivered')
    return undefined
  }
}

function putOff(
  deps: SendDeps,
  { deferMs }: SendLimits,
  delivery: WebhookDelivery,
): Promise<WebhookAgain | undefined> {
  if (deps.now().getTime() - Date.parse(delivery.queued_at) > longestLifeMs) {
    return end(deps, delivery, { reason: reasons.late })
  }
  const deferrals = delivery.deferrals + 1
  const delayMs = lessSome(doubled({ firstMs: deferMs, longestMs: longestDeferMs }, deferrals), 0.5)
  return Promise.resolve({ delivery: { ...delivery, deferrals }, delayMs })
}

async function again(
  deps: SendDeps,
  { schedule }: SendLimits,
  delivery: WebhookDelivery,
  at: Date,
  { status, wanted }: { status: number | undefined; wanted: number },
): Promise<WebhookAgain | undefined> {
  const answer = status === undefined ? { reason: reasons.unreachable } : { status, reason: reasons.refused }
  const pause = schedule[delivery.failures]
  if (pause === undefined) return end(deps, delivery, answer)
  deps.metrics.webhookDeliveries.add({ outcome: 'retried' })
  const delayMs = Math.max(lessSome(pause * 1000, 0.1), wanted * 1000)
  const next_at = new Date(at.getTime() + delayMs).toISOString()
  await noteTry(deps, delivery, { at: at.toISOString(), ...answer, next_at })
  return { delivery: { ...delivery, failures: delivery.failures + 1, deferrals: 0 }, delayMs }
}

async function end(
  deps: SendDeps,
  delivery: WebhookDelivery,
  answer: { status?: number; reason: string },
): Promise<undefined> {
  deps.metrics.webhookDeliveries.add({ outcome: 'failed' })
  await noteTry(deps, delivery, { at: deps.now().toISOString(), ...answer })
  deps.log.warn({ event: delivery.id, failures: delivery.failures, ...answer }, 'a webhook was given up')
}

/** Up to this part less, at random: deliveries that failed together do not come back together. */
function lessSome(ms: number, part: number): number {
  return ms * (1 - part * Math.random())
}
