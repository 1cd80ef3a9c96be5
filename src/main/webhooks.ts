import { webhookPost } from '../adapters/webhooks/post.ts'
import type { Config } from '../config.ts'
import { falWebhookBody } from '../http/dialects/fal/answers.ts'
import { replicateWebhookBody } from '../http/dialects/replicate/prediction.ts'
import type { Log } from '../jobs/log.ts'
import type { Metrics } from '../jobs/metrics.ts'
import { createWebhooks } from '../jobs/serving/webhooks/create.ts'
import type { SendDeps } from '../jobs/serving/webhooks/send.ts'
import type { WebhookForm, Webhooks } from '../jobs/serving/webhooks/webhooks.ts'
import { tracedPost } from '../jobs/traced-queues.ts'
import { webhookRules } from '../jobs/webhook-address.ts'
import { createWebhookSecrets } from '../jobs/webhook-secrets.ts'
import { packageVersion } from '../version.ts'
import type { OpenBackends } from './backends.ts'

/** Bodies in the formats of other APIs. */
const forms: Readonly<Record<string, WebhookForm>> = {
  replicate: replicateWebhookBody,
  fal: falWebhookBody,
}

export interface WebhookParts {
  readonly webhooks: Webhooks
  /** Undefined: webhooks are switched off. */
  readonly sender: SendDeps | undefined
}

/** @param generationOf the generation of the secret of a caller */
export async function webhookParts(
  config: Config,
  { status, webhookQueue, secrets: installation, metrics }: OpenBackends & { readonly metrics: Metrics },
  log: Log,
  generationOf: (caller: string) => number = () => 1,
): Promise<WebhookParts> {
  const hosts = config.webhookHosts?.split(',').map((entry) => entry.trim())
  const rules = config.webhooks === 'on' ? webhookRules(hosts) : undefined
  const secrets = createWebhookSecrets(...installation)
  const now = () => new Date()
  const shared = { status, queue: webhookQueue, secrets, ttlSeconds: config.resultTtlSeconds, now, log }
  const userAgent = `Packshot/${await packageVersion()}`
  return {
    webhooks: createWebhooks({ ...shared, rules, forms }),
    sender: rules && {
      ...shared,
      metrics,
      post: tracedPost(webhookPost({ rules })),
      generationOf,
      userAgent,
    },
  }
}
