import type { Caller } from '../../caller.ts'
import { AppError } from '../../errors.ts'
import type { RateLimiter } from '../../ports.ts'
import type { WebhookLog } from '../../webhook.ts'
import { type AnswerDeps, findManifest, viewJob, viewOfManifest } from '../job-view.ts'
import { checkRate } from '../rate.ts'
import type { Webhooks } from './webhooks.ts'

/** The calls about the webhook of one job. */

export interface WebhookCallDeps extends AnswerDeps {
  readonly webhooks: Webhooks
  readonly limiter: RateLimiter
}

/** Rejects like `viewJob`, and `not_found` while there is no log. */
export async function webhookLogOf(deps: WebhookCallDeps, id: string, { name }: Caller): Promise<WebhookLog> {
  // a job that is gone has none either
  await viewJob(deps, id, name)
  const log = await deps.webhooks.log(id)
  if (log !== undefined) return log
  throw new AppError('not_found', 'Nothing was sent for this job: it is not final, or has no webhook.', {
    param: 'id',
  })
}

/** Counts as a job does. Rejects like `viewJob`, `not_ready` until the job is final, `invalid_request` if it has no webhook. */
export async function resendWebhookOf(
  deps: WebhookCallDeps,
  id: string,
  caller: Caller,
): Promise<WebhookLog> {
  deps.ids.verify(id, caller.name)
  await checkRate(deps.limiter, caller)
  return resendWebhook(deps, id)
}

/** The same for an id that was verified, or comes from an operator. */
export async function resendWebhook(
  deps: Pick<WebhookCallDeps, 'images' | 'now' | 'ids' | 'webhooks'>,
  id: string,
): Promise<WebhookLog> {
  const manifest = await findManifest(deps, id)
  if (manifest !== undefined) return deps.webhooks.resend(viewOfManifest(deps, manifest), manifest)
  throw new AppError('not_ready', 'The job is not final yet: its webhook is sent when it is.', {
    param: 'id',
  })
}
