import { imageFiles } from '../../../jobs/fields.ts'
import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'
import { progressLine } from '../progress-line.ts'

/** A job as a request in fal's queue. */

export interface Place {
  /** The address of this service for the client. */
  readonly base: string
  /** `owner/alias` as the client named it. */
  readonly app: string
}

/** The addresses of a request. */
export function addressesOf(id: string, { base, app }: Place) {
  const self = `${base}/fal/queue/${encodeURI(app)}/requests/${id}`
  return {
    request_id: id,
    response_url: self,
    status_url: `${self}/status`,
    cancel_url: `${self}/cancel`,
  }
}

export function statusOf(view: JobView, { logs, ...place }: Place & { readonly logs: boolean }) {
  const { id, status, position = 0, started_at, finished_at, error } = view
  const addresses = addressesOf(id, place)
  if (status === 'queued') return { status: 'IN_QUEUE', queue_position: position, ...addresses }
  const lines = logs ? logsOf(view) : []
  if (!isFinal(view)) return { status: 'IN_PROGRESS', logs: lines, ...addresses }
  const begun = started_at !== undefined && finished_at !== undefined
  return {
    status: 'COMPLETED',
    logs: lines,
    metrics: begun ? { inference_time: secondsBetween(started_at, finished_at) } : {},
    ...(error === undefined ? {} : { error: error.message, error_type: error.code }),
    ...addresses,
  }
}

function logsOf(view: JobView) {
  const message = progressLine(view) ?? view.error?.message
  if (message === undefined) return []
  const level = view.error === undefined ? 'INFO' : 'ERROR'
  return [{ message, level, source: 'USER', timestamp: view.finished_at ?? new Date().toISOString() }]
}

/** The output of a job that succeeded. */
export function outputOf({ request, images, started_at, finished_at }: JobView, base: string) {
  const { type, extension } = imageFiles[request?.format ?? 'png']
  return {
    images: images.map(({ link, width, height, bytes }, index) => ({
      url: base + link,
      width,
      height,
      content_type: type,
      file_name: `${index}.${extension}`,
      file_size: bytes,
    })),
    timings:
      started_at === undefined || finished_at === undefined
        ? {}
        : { inference: secondsBetween(started_at, finished_at) },
    seed: images[0]?.seed ?? request?.seed,
    // nothing is checked here; its clients read an entry for each picture
    has_nsfw_concepts: images.map(() => false),
    prompt: request?.prompt ?? '',
  }
}

/** The body of a webhook in fal's format. */
export function falWebhookBody(view: JobView, { base }: { readonly base: string }): unknown {
  const { id, status, error } = view
  const both = { request_id: id, gateway_request_id: id }
  if (status === 'succeeded') return { ...both, status: 'OK', payload: outputOf(view, base) }
  const message = error?.message ?? 'The request was canceled.'
  return { ...both, status: 'ERROR', error: message, payload: { detail: message } }
}

function secondsBetween(start: string, end: string): number {
  return (Date.parse(end) - Date.parse(start)) / 1000
}
