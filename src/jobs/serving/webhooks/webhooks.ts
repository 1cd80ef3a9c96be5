import type { Caller } from '../../caller.ts'
import type { Kept, Webhook } from '../../job.ts'
import type { WebhookEvent, WebhookLog } from '../../webhook.ts'
import type { JobView } from '../job-view.ts'

/** Writes the body of a message about a job in another API's format. `view` has addresses relative to `webhook.base`. */
export type WebhookForm = (view: JobView, webhook: Webhook) => unknown

/** Where a request wants its outcome sent. */
interface WantedWebhook {
  /** Absent: the caller's default, if it has one. */
  readonly url?: string
  readonly form?: string
  readonly base: string
}

/** What the service does about webhooks; the sender is in `send.ts`. */
export interface Webhooks {
  /**
   * The webhook of new work: what was asked for, else the caller's default, else undefined. Throws `invalid_request`
   * (param `webhook`) for a receiver that nothing may be sent to.
   */
  accept(caller: Caller, wanted: WantedWebhook): Webhook | undefined
  /**
   * Puts a delivery on the queue. When it resolves, the delivery survives any crash. Rejects `unavailable`, `queue_full`.
   * What is announced twice may be sent twice, with one id.
   */
  announce(event: WebhookEvent): Promise<void>
  /** The same for a job that is final, if it has a webhook and this was not done before. */
  jobEnded(view: JobView, kept: Kept): Promise<void>
  /** Puts the delivery of a final job on the queue again, with the same event id. Rejects `invalid_request` if it has no webhook. */
  resend(view: JobView, kept: Kept): Promise<WebhookLog>
  /** The log of a job (by its id) or of another event. */
  log(name: string): Promise<WebhookLog | undefined>
  /** `whsec_` and base64: what a receiver checks the signatures of this caller's messages with. */
  secretOf(caller: Caller): string
}
