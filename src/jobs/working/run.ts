import { isDeepStrictEqual } from 'node:util'
import { announce } from '../announce.ts'
import { ConnectionLost } from '../connection-lost.ts'
import { AppError, clientMessage, toAppError } from '../errors.ts'
import { countCommitted } from '../finished.ts'
import { type JobState, keptOf, type Manifest, type ManifestImage, type Task } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { Delivery, EventQueue } from '../ports.ts'
import { dropPreview } from '../previews.ts'
import { doubled, jitter, retryBriefly } from '../retry.ts'
import { isTask } from '../task-check.ts'
import { type AttemptDeps, type Made, makePictures, Stopped } from './attempt.ts'
import { deadlyLosses, noteSurvival } from './losses.ts'
import { countMade, countWait } from './measure.ts'
import { expire, refuse } from './refuse.ts'
import { learnSpeed, type Speed } from './speed.ts'
import { StorageAway, withStorageRetry } from './storage-retry.ts'

/**
 * What a worker does with a delivery. In this order, so that a crash between any two steps repeats the job, never
 * loses it, and never shows two results:
 *
 *   1 parse   2 expired, or already final: report again   3 canceled, or lost too often   4 make   5 store pictures
 *   6 commit the manifest   7 publish the event   8 acknowledge
 *
 * While storage is unavailable a worker keeps its task: with any other it would find the same.
 */

export interface RunDeps extends AttemptDeps {
  readonly events: EventQueue
  readonly speed: Speed
  readonly now: () => Date
  /** A job whose workers died this often in a row is assumed to kill them. */
  readonly maxLosses: number
  /** The pause before the second attempt in milliseconds, doubled for each further one. */
  readonly retryPauseMs: number
}

export const defaultRunLimits = { maxLosses: 5, retryPauseMs: 1000 }

const storageAwayPauseMs = 30_000
const endingPauseMs = 10_000

/** What a task has to do with others that the worker has in hand. */
interface Others {
  /** Called when the engine has drawn its pictures, and the rest is storing and telling. */
  readonly onFree?: () => void
  /** Whether pictures of other jobs were drawn at the same time. */
  readonly shared?: () => boolean
}

/** Never rejects: when even the ending fails, the delivery is left to be redelivered. */
export async function runTask(
  deps: RunDeps,
  delivery: Delivery,
  stopping: AbortSignal,
  others: Others = {},
): Promise<void> {
  try {
    await workOn(deps, delivery, stopping, others)
  } catch (err) {
    if (delivery.lost.aborted) return
    deps.log.error({ err, attempt: delivery.attempt }, 'a task could not be completed; it is redelivered')
    deps.metrics.attempts.add({ outcome: 'returned' })
    const pause = stopping.aborted
      ? 0
      : jitter(err instanceof StorageAway ? storageAwayPauseMs : endingPauseMs)
    await bestEffort(deps.log, 'returning a task to the queue', delivery.giveBack(pause))
  }
}

async function workOn(
  deps: RunDeps,
  delivery: Delivery,
  stopping: AbortSignal,
  { onFree, shared }: Others,
): Promise<void> {
  const task = delivery.message
  if (!isTask(task)) return refuse(deps, delivery)

  if (delivery.losses > 0) deps.metrics.attempts.add({ outcome: 'lost' })
  if (Date.parse(task.expires_at) <= deps.now().getTime()) return expire(deps, delivery, task)
  const patience = AbortSignal.any([delivery.lost, stopping])
  const atStorage = <T>(action: () => Promise<T>) => withStorageRetry(deps.storageRetry, patience, action)
  const { log, status } = deps
  let state = await bestEffort(log, 'looking for a cancellation', status.get(task.id))
  if (!isNew(delivery, state) || status.doubtful()) {
    const existing = await atStorage(() => deps.images.getManifest(task.id))
    if (existing !== undefined) return conclude(deps, delivery, task, existing)
  }
  if (state === undefined) {
    // a store that was wiped may already have a mark for the job
    const create = () => status.create(task)
    const created = task.sent === undefined ? create() : retryBriefly(create)
    await bestEffort(log, 'writing the status of a task', created)
    state = await bestEffort(log, 'looking for a cancellation', status.get(task.id))
  }
  if (isOther(task, state)) return drop(deps, delivery, task)
  const commit = async (outcome: Outcome) => {
    const manifest = manifestOf(deps, delivery, task, outcome)
    const standing = await atStorage(() => deps.images.commit(manifest))
    countCommitted(deps.metrics, manifest, standing, task.priority)
    await conclude(deps, delivery, task, standing)
  }
  if (state?.cancel_requested === true) return commit({ status: 'canceled' })
  const losses = await deadlyLosses(deps, delivery, task.id)
  if (losses >= deps.maxLosses) return commit(tooOften(losses))

  const started_at = state?.started_at ?? deps.now().toISOString()
  if (isNew(delivery, state)) countWait(deps, task, started_at)
  const began = performance.now()
  let made: Made
  try {
    made = await makePictures(deps, task, started_at, { lost: delivery.lost, stopping }, onFree)
  } catch (thrown) {
    return endAttempt(deps, delivery, task, thrown, (outcome) => commit({ ...outcome, started_at }))
  }
  const whole = made.pictures.length === task.request.count
  if (whole) countMade(deps, task, (performance.now() - began) / 1000)
  // the pictures are made: an outage of storage or broker now is not a fault of the attempt, and does not count
  await commit({ status: 'succeeded', images: made.pictures, started_at })
  deps.metrics.attempts.add({ outcome: 'done' })
  // the steps of a picture that was left say nothing; beside others it seems slower than it is, which is better than nothing
  if (whole && (shared?.() !== true || deps.speed.secondsPerUnit === undefined))
    learnSpeed(deps.speed, task, made)
}

/**
 * Whether no worker has run the task, according to its delivery counts and the status store. Storage is not read
 * then; if they are wrong, the commit finds the existing manifest, and only the work was wasted.
 */
function isNew({ attempt, losses }: Delivery, state: JobState | undefined): boolean {
  return attempt === 1 && losses === 0 && state?.status === 'queued'
}

/**
 * Whether the id stands for another request, which the status store knows: two were sent with one idempotency key at the
 * same moment, and the client of this one was refused. Or somebody put a task of their own under the id of a job.
 */
function isOther({ sent, request }: Task, state: JobState | undefined): boolean {
  if (state === undefined) return false
  const differs = sent !== undefined && state.sent !== undefined && state.sent !== sent
  return differs || !isDeepStrictEqual(state.request, request)
}

async function drop({ log }: RunDeps, delivery: Delivery, task: Task): Promise<void> {
  await delivery.ack()
  log.warn({ job: task.id }, 'a task was dropped: its id stands for another request')
}

async function endAttempt(
  deps: RunDeps,
  delivery: Delivery,
  task: Task,
  thrown: unknown,
  commit: (outcome: Outcome) => Promise<void>,
): Promise<void> {
  if (delivery.lost.aborted) {
    deps.log.warn({ job: task.id }, 'the task was lost to another worker')
    return delivery.lost.reason instanceof ConnectionLost ? noteSurvival(deps, task.id) : undefined
  }
  const { attempts } = deps.metrics
  const fields = { job: task.id, attempt: delivery.attempt, err: thrown }
  if (thrown instanceof Stopped) {
    if (thrown.why === 'canceled' || thrown.why === 'enough') {
      await commit({ status: 'canceled' })
      return attempts.add({ outcome: 'canceled' })
    }
    attempts.add({ outcome: 'returned' })
    deps.log.info({ job: task.id }, 'the worker is stopping; the job is redelivered')
    return delivery.giveBack()
  }
  if (thrown instanceof StorageAway) {
    attempts.add({ outcome: 'returned' })
    deps.log.error(fields, 'storage is unavailable; the job is redelivered')
    return delivery.giveBack(jitter(storageAwayPauseMs))
  }
  const error = toAppError(thrown)
  if (error.attempts === Number.POSITIVE_INFINITY) {
    attempts.add({ outcome: 'returned' })
    deps.log.error(fields, 'attempt failed for a temporary reason; the job is redelivered')
    return delivery.giveBack(jitter(storageAwayPauseMs))
  }
  if (delivery.attempt < error.attempts) {
    attempts.add({ outcome: 'retried' })
    deps.log.warn(fields, 'attempt failed; the job is retried')
    const backoff = { firstMs: deps.retryPauseMs, longestMs: Number.POSITIVE_INFINITY }
    return delivery.retry(jitter(doubled(backoff, delivery.attempt)))
  }
  deps.log.error(fields, 'attempt failed for the last time')
  await commit({ status: 'failed', error })
  attempts.add({ outcome: 'failed' })
}

interface Outcome {
  readonly status: Manifest['status']
  readonly images?: ManifestImage[]
  readonly error?: AppError
  readonly started_at?: string
}

function tooOften(losses: number): Outcome {
  const message = `Workers died ${losses} times while working on this job, or were too slow for the queue.`
  return { status: 'failed', error: new AppError('generation_failed', message) }
}

function manifestOf(deps: RunDeps, delivery: Delivery, task: Task, outcome: Outcome): Manifest {
  const { status, images, error, started_at } = outcome
  const { id, request, created_at, expires_at } = task
  return {
    v: 1,
    id,
    status,
    request,
    images: images ?? [],
    ...(error === undefined ? {} : { error: { code: error.code, message: clientMessage(error) } }),
    attempts: delivery.attempt,
    ...keptOf(task),
    created_at,
    ...(started_at === undefined ? {} : { started_at }),
    finished_at: deps.now().toISOString(),
    expires_at,
  }
}

/** Steps 7 and 8; also for a delivery of a job that was already final. */
async function conclude(
  deps: RunDeps,
  delivery: Delivery,
  { trace, previews = 0 }: Task,
  manifest: Manifest,
): Promise<void> {
  await announce(deps, manifest, trace)
  if (previews > 0)
    void bestEffort(deps.log, 'deleting a preview', dropPreview(deps.status, manifest.id), 'debug')
  await delivery.ack()
  const { id, status } = manifest
  deps.log.info({ job: id, status, attempt: delivery.attempt }, 'job is final')
}
