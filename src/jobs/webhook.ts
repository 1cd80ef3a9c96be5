import { type Static, Type } from 'typebox'
import type { Webhook } from './job.ts'

/**
 * Webhooks by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): a message about something that happened, sent
 * to the receiver that its caller named.
 *
 * - event: what happened. Its id is the `webhook-id` of every message about it.
 * - delivery: one event on its way to one receiver. It is tried until it succeeds, or for about a day.
 */

/** Something that happened, as the service announces it. */
export interface WebhookEvent {
  /** The same however often it is announced; letters, digits, `_` and `-`. */
  readonly id: string
  /** Words with dots between: `catalogue.completed`. */
  readonly type: string
  /** The name of the caller whose secret signs it. */
  readonly caller: string
  readonly webhook: Webhook
  /** `data` of the body; with the rest at most `longestBody` bytes as JSON. */
  readonly data: unknown
}

/** Bytes of a body. The specification asks for less than 20 kB. */
export const longestBody = 20_000

/** What the queue keeps. It has all that is sent, so that nothing needs to be read for a try. */
export const WebhookDelivery = Type.Object({
  v: Type.Literal(1),
  /** That of the event. */
  id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,128}$' }),
  caller: Type.String(),
  url: Type.String(),
  /** The text that is signed and sent. */
  body: Type.String(),
  /** When it was put on the queue. */
  queued_at: Type.String(),
  /** Tries that failed. */
  failures: Type.Integer({ minimum: 0 }),
  /** How often it was put off since the last try: its receiver had as many others as it may. */
  deferrals: Type.Integer({ minimum: 0 }),
  /** The name of its log. */
  log: Type.String(),
  /** The trace that it belongs to: a W3C `traceparent`. */
  trace: Type.Optional(Type.String()),
})
export type WebhookDelivery = Static<typeof WebhookDelivery>

/** The id of an event: that of the job without the part that gives access to it. */
export function eventIdOf(jobId: string, status: string): string {
  return `evt_${jobId.slice(0, 26)}_${status}`
}

/** One try of a delivery. */
export const WebhookTry = Type.Object({
  at: Type.String(),
  status: Type.Optional(Type.Integer({ description: "The receiver's answer; absent if there was none." })),
  reason: Type.Optional(Type.String({ description: 'Why it failed; absent if it succeeded.' })),
  next_at: Type.Optional(Type.String({ description: 'About when the next try comes; absent if none does.' })),
})
export type WebhookTry = Static<typeof WebhookTry>

/** What is known of the deliveries of an event: it is kept in the status store, and may be lost with it. */
export const WebhookLog = Type.Object({
  event: Type.String({ description: 'The `webhook-id` of its messages.' }),
  url: Type.String({ description: 'The receiver, without its query.' }),
  queued_at: Type.String(),
  tries: Type.Array(WebhookTry, { description: 'The latest 20.' }),
})
export type WebhookLog = Static<typeof WebhookLog>
