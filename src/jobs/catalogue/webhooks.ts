import type { Caller } from '../caller.ts'
import type { Webhook } from '../job.ts'

/** What the end of a run is announced by. */
export interface Webhooks {
  /** The receiver that was asked for, else the caller's default. Throws `invalid_request` for one that nothing may be sent to. */
  accept(caller: Caller, wanted: { readonly url?: string; readonly base: string }): Webhook | undefined
  /** Resolves when the announcement is durable. The same id is one event, however often it is announced. */
  announce(event: {
    readonly id: string
    readonly type: string
    readonly caller: string
    readonly webhook: Webhook
    readonly data: unknown
  }): Promise<void>
}
