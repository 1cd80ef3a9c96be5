import { anonymous, type Caller, requireScope } from '../../caller.ts'
import { AppError } from '../../errors.ts'
import type { Kept, Webhook } from '../../job.ts'
import { bestEffort } from '../../log.ts'
import type { WebhookQueue } from '../../ports.ts'
import { invalidRequest } from '../../request/resolve.ts'
import { eventIdOf, type WebhookDelivery } from '../../webhook.ts'
import type { WebhookRules } from '../../webhook-address.ts'
import type { WebhookSecrets } from '../../webhook-secrets.ts'
import type { JobView } from '../job-view.ts'
import { eventBody, jobBody, outcomeOf } from './body.ts'
import { noteQueued, readLog, type WebhookLogDeps } from './log.ts'
import type { WebhookForm, Webhooks } from './webhooks.ts'

export interface WebhookDeps extends WebhookLogDeps {
  readonly queue: WebhookQueue
  readonly secrets: WebhookSecrets
  /** Undefined: webhooks are switched off. */
  readonly rules: WebhookRules | undefined
  /** Bodies in other APIs' formats, by the `form` of a webhook. */
  readonly forms: Readonly<Record<string, WebhookForm>>
  readonly now: () => Date
}

export function createWebhooks(deps: WebhookDeps): Webhooks {
  const publish = async (parts: Pick<WebhookDelivery, 'id' | 'caller' | 'url' | 'body' | 'log'>) => {
    const queued_at = deps.now().toISOString()
    const delivery: WebhookDelivery = { v: 1, ...parts, queued_at, failures: 0, deferrals: 0 }
    await deps.queue.publish(delivery)
    return noteQueued(deps, delivery)
  }
  const publishJob = (view: JobView, { caller = anonymous }: Kept, webhook: Webhook) =>
    publish({
      id: eventIdOf(view.id, outcomeOf(view)),
      caller,
      url: webhook.url,
      body: jobBody(view, webhook, deps.forms),
      log: view.id,
    })
  return {
    accept: (caller, { url, form, base }) => {
      const asked = url ?? (deps.rules === undefined ? undefined : caller.webhook?.url)
      if (asked === undefined) return undefined
      if (url !== undefined) requireScope(caller, 'webhooks')
      const fault =
        deps.rules === undefined ? 'cannot be used: this installation sends none' : deps.rules.faultOf(asked)
      if (fault !== undefined) {
        throw invalidRequest([{ param: 'webhook', message: `webhook ${fault}.` }])
      }
      return { url: new URL(asked).href, ...(form === undefined ? {} : { form }), base }
    },
    async announce({ id, type, caller, webhook, data }) {
      const body = eventBody(type, deps.now(), data)
      await publish({ id, caller, url: webhook.url, body, log: id })
    },
    async jobEnded(view, kept) {
      if (kept.webhook === undefined) return
      // an event that comes again; without the log it is only sent twice
      const earlier = bestEffort(deps.log, 'reading a log of deliveries', readLog(deps, view.id), 'debug')
      if ((await earlier) === undefined) await publishJob(view, kept, kept.webhook)
    },
    async resend(view, kept) {
      if (kept.webhook === undefined) {
        throw new AppError('invalid_request', 'The job has no webhook: none was requested with it.', {
          param: 'id',
        })
      }
      return publishJob(view, kept, kept.webhook)
    },
    log: (name) => readLog(deps, name),
    secretOf: ({ name, webhook }: Caller) => deps.secrets.shown(name, webhook?.secret ?? 1),
  }
}
