import { Value } from 'typebox/value'
import { type AttemptDeps, makePictures, Stopped } from './attempt.ts'
import { AppError, toAppError } from './errors.ts'
import { eventOf, type Manifest, type ManifestImage, Task } from './job.ts'
import { bestEffort } from './log.ts'
import type { Delivery, EventQueue } from './ports.ts'
import { jitter, StorageAway, withStorageRetry } from './storage-retry.ts'

/**
 * What a worker does with a delivery. In this order, so that a crash between any two steps repeats the job, never
 * loses it, and never shows two results:
 *
 *   1 parse   2 already final: say so again   3 canceled, expired or tried too often   4 make   5 store pictures
 *   6 commit the manifest   7 publish the event   8 acknowledge
 */

export interface RunDeps extends AttemptDeps {
  readonly events: EventQueue
  readonly now: () => Date
  readonly maxAttempts: number
  /** The pause before the second attempt, doubled for each further one. */
  readonly retryPauseMs: number
}

const unknownVersionPauseMs = 30_000
const storageAwayPauseMs = 30_000

/** Never rejects: when even the ending fails, the delivery is left to come again by itself. */
export async function runTask(deps: RunDeps, delivery: Delivery, stopping: AbortSignal): Promise<void> {
  try {
    await workOn(deps, delivery, stopping)
  } catch (err) {
    if (delivery.lost.aborted) return
    deps.log.error({ err, attempt: delivery.attempt }, 'a task could not be ended; it is delivered again')
    const pause = jitter(deps.retryPauseMs * 2 ** Math.min(6, delivery.attempt))
    await bestEffort(deps.log, 'giving a task back', delivery.giveBack(pause))
  }
}

async function workOn(deps: RunDeps, delivery: Delivery, stopping: AbortSignal): Promise<void> {
  const task = delivery.message
  if (!Value.Check(Task, task)) return refuse(deps, delivery)

  const existing = await deps.images.getManifest(task.id)
  if (existing !== undefined) return conclude(deps, delivery, existing)
  if (Date.parse(task.expires_at) <= deps.now().getTime()) return expire(deps, delivery, task)

  const { log, status } = deps
  await bestEffort(log, 'writing the status of a task', status.create(task))
  const state = await bestEffort(log, 'looking for a cancellation', status.get(task.id))
  const commit = (outcome: Outcome) => commitAndConclude(deps, delivery, task, outcome)
  if (state?.cancel_requested === true) return commit({ status: 'canceled' })
  if (delivery.attempt > deps.maxAttempts) return commit(tooOften(delivery.attempt - 1))

  const started_at = state?.started_at ?? deps.now().toISOString()
  await bestEffort(
    log,
    'writing that a task runs',
    status.advance(task.id, { status: 'running', started_at }),
  )
  try {
    const images = await makePictures(deps, task, { lost: delivery.lost, stopping })
    return await commit({ status: 'succeeded', images, started_at })
  } catch (thrown) {
    return endAttempt(deps, delivery, task, thrown, started_at)
  }
}

/** A newer server's task waits for a newer worker; what is no task at all is parked for a person. */
async function refuse(deps: RunDeps, delivery: Delivery): Promise<void> {
  const message = delivery.message
  const version = typeof message === 'object' && message !== null && 'v' in message ? message.v : undefined
  if (typeof version === 'number' && version > 1) {
    deps.log.warn({ version }, 'a task of a newer version is left for a newer worker')
    return delivery.giveBack(unknownVersionPauseMs)
  }
  const fault = Value.Errors(Task, message)[0]
  const reason = `not a task: ${fault?.instancePath ?? ''} ${fault?.message ?? ''}`.trim()
  deps.log.error({ reason }, 'a message that is no task was parked')
  return delivery.dead(reason)
}

async function expire(deps: RunDeps, delivery: Delivery, task: Task): Promise<void> {
  await bestEffort(deps.log, 'writing an expiry', deps.status.advance(task.id, { status: 'expired' }))
  await deps.events.publish({ v: 1, id: task.id, status: 'expired', at: deps.now().toISOString() })
  await delivery.ack()
  deps.log.warn({ job: task.id }, 'job expired before a worker had it')
}

async function endAttempt(
  deps: RunDeps,
  delivery: Delivery,
  task: Task,
  thrown: unknown,
  started_at: string,
): Promise<void> {
  if (delivery.lost.aborted) {
    deps.log.warn({ job: task.id }, 'the task was lost to another worker')
    return
  }
  const fields = { job: task.id, attempt: delivery.attempt, err: thrown }
  if (thrown instanceof Stopped) {
    if (thrown.why === 'canceled')
      return commitAndConclude(deps, delivery, task, { status: 'canceled', started_at })
    deps.log.info({ job: task.id }, 'the worker stops; the job is delivered again')
    return delivery.giveBack()
  }
  if (thrown instanceof StorageAway) {
    deps.log.error(fields, 'storage is away; the job is delivered again')
    return delivery.giveBack(jitter(storageAwayPauseMs))
  }
  const error = toAppError(thrown)
  if (error.retryable && delivery.attempt < deps.maxAttempts) {
    deps.log.warn(fields, 'attempt failed; the job is tried again')
    return delivery.retry(jitter(deps.retryPauseMs * 2 ** (delivery.attempt - 1)))
  }
  deps.log.error(fields, 'attempt failed for the last time')
  return commitAndConclude(deps, delivery, task, { status: 'failed', error, started_at })
}

interface Outcome {
  readonly status: Manifest['status']
  readonly images?: ManifestImage[]
  readonly error?: AppError
  readonly started_at?: string
}

function tooOften(attempts: number): Outcome {
  const message = `The worker ended without an answer ${attempts} times while it worked on this job.`
  return { status: 'failed', error: new AppError('generation_failed', message) }
}

async function commitAndConclude(
  deps: RunDeps,
  delivery: Delivery,
  task: Task,
  outcome: Outcome,
): Promise<void> {
  const { status, images, error, started_at } = outcome
  const { id, request, created_at, expires_at } = task
  const manifest: Manifest = {
    v: 1,
    id,
    status,
    request,
    images: images ?? [],
    ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
    attempts: Math.min(delivery.attempt, deps.maxAttempts),
    created_at,
    ...(started_at === undefined ? {} : { started_at }),
    finished_at: deps.now().toISOString(),
    expires_at,
  }
  const standing = await withStorageRetry(deps.storageRetry, delivery.lost, () =>
    deps.images.commit(manifest),
  )
  await conclude(deps, delivery, standing)
}

/** Steps 7 and 8; also for a delivery of a job that was final already. */
async function conclude(deps: RunDeps, delivery: Delivery, manifest: Manifest): Promise<void> {
  const { id, status, error } = manifest
  const update = { status, ...(error === undefined ? {} : { error }) }
  await bestEffort(deps.log, 'writing a final status', deps.status.advance(id, update))
  await deps.events.publish(eventOf(manifest))
  await delivery.ack()
  deps.log.info({ job: id, status, attempt: delivery.attempt }, 'job is final')
}
