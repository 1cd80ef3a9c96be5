import type { JobStatus } from '../../../jobs/job.ts'
import type { JobView } from '../../../jobs/serving/job-view.ts'
import { progressLine } from '../progress-line.ts'
import { inputNames } from './input.ts'
import { owner, versionOf } from './models.ts'

/** A job as a prediction. */

const statuses: Readonly<Record<JobStatus, string>> = {
  queued: 'starting',
  running: 'processing',
  succeeded: 'succeeded',
  failed: 'failed',
  canceled: 'canceled',
  expired: 'failed',
}

export interface PredictionOptions {
  /** The address of this service for the client. */
  readonly base: string
  /** The address of its events. Optional: absent in a webhook. */
  readonly stream?: string
}

export function predictionOf(view: JobView, { base, stream }: PredictionOptions) {
  const { id, status, request, images, created_at, started_at, finished_at, error } = view
  const self = `${base}/v1/predictions/${id}`
  const model = request?.model
  return {
    id,
    model: model === undefined ? owner : `${owner}/${model}`,
    version: model === undefined ? 'hidden' : versionOf(model),
    input: request === undefined ? {} : inputOf(request),
    output: status === 'succeeded' ? images.map(({ link }) => base + link) : null,
    error: error?.message ?? null,
    logs: logsOf(view),
    metrics: metricsOf(view),
    status: statuses[status],
    source: 'api',
    data_removed: false,
    created_at,
    started_at: started_at ?? null,
    completed_at: finished_at ?? null,
    urls: {
      get: self,
      cancel: `${self}/cancel`,
      ...(stream === undefined ? {} : { stream }),
      web: `${base}/jobs/${id}`,
    },
  }
}

/** The body of a webhook in Replicate's format: the prediction. */
export function replicateWebhookBody(view: JobView, { base }: { readonly base: string }): unknown {
  return predictionOf(view, { base })
}

/** Without the ids of pictures: they are of no use there. */
function inputOf(request: NonNullable<JobView['request']>): Record<string, unknown> {
  const names: Readonly<Record<string, string>> = inputNames
  return Object.fromEntries(
    Object.entries(request)
      .filter(([name]) => name !== 'init_image' && name !== 'mask' && name !== 'model')
      .map(([name, value]) => [names[name] ?? name, value]),
  )
}

function logsOf(view: JobView): string {
  const line = progressLine(view)
  if (line !== undefined) return `${line}\n`
  return view.error === undefined ? '' : `${view.error.message}\n`
}

function metricsOf({ created_at, started_at, finished_at }: JobView) {
  if (finished_at === undefined) return {}
  const since = (start: string) => (Date.parse(finished_at) - Date.parse(start)) / 1000
  return {
    ...(started_at === undefined ? {} : { predict_time: since(started_at) }),
    total_time: since(created_at),
  }
}
