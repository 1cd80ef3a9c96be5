import { type ErrorCode, errorTable } from './errors.ts'
import { priorities } from './fields.ts'
import { finalStatuses } from './job.ts'

/**
 * What is measured. The table is the contract with dashboards, alarms and autoscaling: docs/metrics.md is derived from it by
 * a test. Names and units follow Prometheus (base units, `_seconds`, `_bytes`, `_total`); every series has the label
 * `role` as well. A label never has a prompt, a caller or the id of a job, and the values of each are few.
 *
 * Where nothing is measured, `noMetrics` takes the place of all of them.
 */

/** The values of a label; undefined for a label whose values are not known beforehand. */
type LabelValues = readonly string[] | undefined

export interface InstrumentKind {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly name: string
  readonly help: string
  /** Which processes have it. */
  readonly roles: readonly MetricsRole[]
  readonly labels: Readonly<Record<string, LabelValues>>
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[]
}

export type MetricsRole = 'server' | 'worker'

const classes = { class: priorities }
const codes = Object.keys(errorTable) as readonly ErrorCode[]
const both: readonly MetricsRole[] = ['server', 'worker']
const server: readonly MetricsRole[] = ['server']
const worker: readonly MetricsRole[] = ['worker']
/** How a call of a store ended. `unavailable`: it did not answer. */
const outcomes = ['ok', 'unavailable', 'error'] as const
/** The side of the smallest square that has at least the pixels of the picture. */
const sizes = ['256', '512', '768', '1024', 'larger'] as const
const jobSeconds = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600] as const
const callSeconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

export const instruments = {
  buildInfo: {
    kind: 'gauge',
    name: 'packshot_build_info',
    help: '1. Which version of Packshot, on which version of Node.',
    roles: both,
    labels: { version: undefined, node: undefined },
  },
  httpDuration: {
    kind: 'histogram',
    name: 'packshot_http_request_duration_seconds',
    help: 'From the head of a request until its answer was sent, what a client asked to wait for included. `route` is the pattern, `none` if there is nothing at the address; an unusual `method` is `other`.',
    roles: server,
    labels: { route: undefined, method: undefined, code: undefined },
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
  },
  httpConnections: {
    kind: 'gauge',
    name: 'packshot_http_connections',
    help: 'Open connections of clients.',
    roles: server,
    labels: {},
  },
  eventStreams: {
    kind: 'gauge',
    name: 'packshot_event_streams',
    help: 'Open event streams.',
    roles: server,
    labels: {},
  },
  jobsAccepted: {
    kind: 'counter',
    name: 'packshot_jobs_accepted_total',
    help: 'Jobs that were accepted: their tasks are durable.',
    roles: server,
    labels: classes,
  },
  requestsRefused: {
    kind: 'counter',
    name: 'packshot_requests_refused_total',
    help: 'Requests that were answered with an error, by its code (docs/errors.md).',
    roles: server,
    labels: { code: codes },
  },
  jobsFinished: {
    kind: 'counter',
    name: 'packshot_jobs_finished_total',
    help: 'Jobs that ended, counted by the process whose end counts: the one that committed the manifest, or found that the job had expired. `code` is `none` unless the job failed.',
    roles: both,
    labels: {
      class: priorities,
      status: [...finalStatuses, 'expired'] as const,
      model: undefined,
      code: undefined,
    },
  },
  jobWait: {
    kind: 'histogram',
    name: 'packshot_job_wait_seconds',
    help: 'From the acceptance of a job to its first attempt.',
    roles: worker,
    labels: classes,
    buckets: jobSeconds,
  },
  jobDuration: {
    kind: 'histogram',
    name: 'packshot_job_duration_seconds',
    help: 'From the acceptance of a job to its end, whatever that is.',
    roles: both,
    labels: classes,
    buckets: jobSeconds,
  },
  attemptDuration: {
    kind: 'histogram',
    name: 'packshot_attempt_duration_seconds',
    help: 'An attempt that made and stored all pictures of its job. `size`: the side of the smallest square that has at least the pixels of one.',
    roles: worker,
    labels: { model: undefined, size: sizes },
    buckets: [0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800],
  },
  stepDuration: {
    kind: 'histogram',
    name: 'packshot_step_duration_seconds',
    help: 'One step of the sampler, apart from the first of each picture; of pictures that are drawn at the same time their mean so far.',
    roles: worker,
    labels: { model: undefined, size: sizes },
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  },
  attempts: {
    kind: 'counter',
    name: 'packshot_attempts_total',
    help: 'Attempts by how they ended: `retried` and `failed` by an error, `returned` to the queue because the worker stops or storage is unavailable, `lost` when a worker died or was too slow (counted by the next one that gets the task).',
    roles: worker,
    labels: { outcome: ['done', 'retried', 'failed', 'canceled', 'returned', 'lost'] as const },
  },
  deadLetters: {
    kind: 'counter',
    name: 'packshot_dead_letters_total',
    help: 'Messages that were parked: no worker could process them.',
    roles: both,
    labels: {},
  },
  workerBusy: {
    kind: 'gauge',
    name: 'packshot_worker_busy',
    help: '1 while the worker has a task, else 0.',
    roles: worker,
    labels: {},
  },
  workerProgress: {
    kind: 'gauge',
    name: 'packshot_worker_last_progress_timestamp_seconds',
    help: 'When the worker last began a task, completed a step or stored a picture; absent before its first task.',
    roles: worker,
    labels: {},
  },
  workerRestarts: {
    kind: 'counter',
    name: 'packshot_worker_restarts_total',
    help: 'How often the worker process died, or could not be started, and was replaced.',
    roles: worker,
    labels: {},
  },
  queueJobs: {
    kind: 'gauge',
    name: 'packshot_queue_jobs',
    help: 'Jobs that wait or are in work. Of the whole installation, as the following ones: every server reports the same, take the `max`. Absent while queue or status store do not answer.',
    roles: server,
    labels: classes,
  },
  queueOldest: {
    kind: 'gauge',
    name: 'packshot_queue_oldest_seconds',
    help: 'How long the job that waits longest has waited; 0 if none waits.',
    roles: server,
    labels: classes,
  },
  queueWork: {
    kind: 'gauge',
    name: 'packshot_queue_work_seconds',
    help: 'How long one worker would take for what waits and what is left of what is in work, at the speed of the workers lately; before any was measured, at one second for a unit of work.',
    roles: server,
    labels: classes,
  },
  queueConsumers: {
    kind: 'gauge',
    name: 'packshot_queue_consumers',
    help: 'Workers that take tasks, by their heartbeats.',
    roles: server,
    labels: {},
  },
  pictureCost: {
    kind: 'gauge',
    name: 'packshot_picture_cost_seconds',
    help: 'Seconds of this worker that a picture cost lately, loading and storing included.',
    roles: worker,
    labels: { model: undefined },
  },
  webhookDeliveries: {
    kind: 'counter',
    name: 'packshot_webhook_deliveries_total',
    help: 'Tries to deliver a webhook: `retried` ones come again, `failed` ones were given up.',
    roles: server,
    labels: { outcome: ['delivered', 'retried', 'failed'] as const },
  },
  webhooksWaiting: {
    kind: 'gauge',
    name: 'packshot_webhooks_waiting',
    help: 'Webhooks that were not delivered yet, of the whole installation. Absent while the queue does not answer.',
    roles: server,
    labels: {},
  },
  storageDuration: {
    kind: 'histogram',
    name: 'packshot_storage_request_duration_seconds',
    help: 'Calls of the storage by this process.',
    roles: both,
    labels: { op: undefined, outcome: outcomes },
    buckets: callSeconds,
  },
  statusDuration: {
    kind: 'histogram',
    name: 'packshot_status_request_duration_seconds',
    help: 'Calls of the status store by this process.',
    roles: both,
    labels: { op: undefined, outcome: outcomes },
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
  },
  dependencyUp: {
    kind: 'gauge',
    name: 'packshot_dependency_up',
    help: '1 if the last call was answered, 0 if not. One that was not called lately is asked.',
    roles: both,
    labels: { name: ['queue', 'status', 'storage'] as const },
  },
  expiredResults: {
    kind: 'counter',
    name: 'packshot_expired_results_total',
    help: 'Jobs whose results this server deleted after their time.',
    roles: server,
    labels: {},
  },
  diskFree: {
    kind: 'gauge',
    name: 'packshot_disk_free_bytes',
    help: 'What can still be written to the disk of the data folder; only where results are kept there.',
    roles: server,
    labels: {},
  },
} as const satisfies Readonly<Record<string, InstrumentKind>>

type Table = typeof instruments
export type InstrumentName = keyof Table

type LabelsOf<Kind extends InstrumentKind> = {
  readonly [Label in keyof Kind['labels']]: Kind['labels'][Label] extends readonly (infer Value)[]
    ? Value
    : string
}

interface Counter<Labels> {
  /** @param amount 1 if absent */
  add(labels: Labels, amount?: number): void
}

interface Gauge<Labels> {
  set(labels: Labels, value: number): void
  /** Nothing is known: the series is absent, which is not 0. */
  forget(labels: Labels): void
}

interface Histogram<Labels> {
  observe(labels: Labels, value: number): void
}

type InstrumentOf<Kind extends InstrumentKind> = Kind extends { readonly kind: 'counter' }
  ? Counter<LabelsOf<Kind>>
  : Kind extends { readonly kind: 'gauge' }
    ? Gauge<LabelsOf<Kind>>
    : Histogram<LabelsOf<Kind>>

/** Every instrument. One that the process does not have (`roles`) does nothing; none throws. */
export type Metrics = { readonly [Name in InstrumentName]: InstrumentOf<Table[Name]> }

const nothing = { add() {}, set() {}, forget() {}, observe() {} }

/** What there is where nothing is measured. */
export const noMetrics: Metrics = Object.fromEntries(
  Object.keys(instruments).map((name) => [name, nothing]),
) as unknown as Metrics

/** The label for pictures of so many pixels. */
export function sizeLabel({
  width,
  height,
}: {
  readonly width: number
  readonly height: number
}): (typeof sizes)[number] {
  return sizes.find((side) => width * height <= Number(side) ** 2) ?? 'larger'
}
