import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { type Caller, requireScope } from '../caller.ts'
import { AppError, toAppError } from '../errors.ts'
import type { RequestLimits } from '../fields.ts'
import { type ResolvedRequest, type Task, versionOf } from '../job.ts'
import { expiryOf } from '../job-id.ts'
import { bestEffort } from '../log.ts'
import type { Offer } from '../offer.ts'
import { type RateLimiter, type TaskQueue, workUnits } from '../ports.ts'
import { invalidRequest, type Resolved, resolveRequest } from '../request/resolve.ts'
import { type AnswerDeps, type JobView, viewJob, waitingView } from './job-view.ts'
import { checkRate } from './rate.ts'
import { uploadFaults } from './upload.ts'

const longestKey = 255

export interface SubmitDeps extends AnswerDeps {
  readonly queue: TaskQueue
  /** The current offer: files come and go while a server runs. */
  readonly offer: () => Offer
  readonly limits: RequestLimits
  readonly limiter: RateLimiter
}

export interface SubmitOptions {
  readonly caller: Caller
  readonly idempotencyKey?: string
  /** The trace that the request belongs to: a W3C `traceparent`. */
  readonly trace?: string
}

/**
 * Accepts a request. The publish is the one durable write of acceptance: when this resolves, the job survives any
 * crash; `unavailable` leaves open whether it was accepted. The status is written after it, and may be missing.
 *
 * With an idempotency key, id and seed come from the key, so a request that is resent because its answer was
 * lost finds the same job. Rejects `invalid_request` when the key was used for a different request, `forbidden`,
 * `rate_limited`.
 */
export async function submitJob(deps: SubmitDeps, body: unknown, options: SubmitOptions): Promise<JobView> {
  const { caller, trace } = options
  requireScope(caller, 'jobs')
  await checkRate(deps.limiter, caller)
  const key = options.idempotencyKey
  if (key !== undefined) checkKey(key)
  const seed = key === undefined ? undefined : seedOf(key)
  const resolved = resolveRequest(body, deps.offer(), deps.limits, seed)
  const now = deps.now()
  const wanted = { ...resolved, now, ...(trace === undefined ? {} : { trace }) }
  if (key === undefined) return accept(deps, deps.ids.issue(now), wanted)

  const ids = deps.ids.fromKey(key, now)
  for (const id of ids) {
    const earlier = await findRequest(deps, id)
    if (earlier === undefined) continue
    if (!isDeepStrictEqual(earlier, resolved.request)) throw keyReused(key)
    return viewJob(deps, id)
  }
  return accept(deps, ids[0], wanted)
}

interface Wanted extends Resolved {
  readonly now: Date
  readonly trace?: string
}

async function accept(deps: SubmitDeps, id: string, { now, ...wanted }: Wanted): Promise<JobView> {
  const { request, trace } = wanted
  const faults = await uploadFaults(deps, request)
  if (faults.length > 0) throw invalidRequest(faults)
  const created_at = now.toISOString()
  const expires_at = expiryOf(created_at, deps.ttlSeconds)
  const task: Task = { v: versionOf(request), id, ...wanted, created_at, expires_at }
  try {
    await deps.queue.publish(task)
  } catch (thrown) {
    throw await withRetryAfter(deps, toAppError(thrown), request)
  }
  await bestEffort(deps.log, 'writing the status of a new job', deps.status.create(task))
  deps.log.info({ job: id, trace, units: workUnits(request) }, 'job accepted')
  // from here on nothing may reject: the job is accepted, and a 503 would say that it may not be
  return waitingView(deps, { id, status: 'queued', request, created_at, expires_at })
}

/**
 * If neither store has it, the job is published again under the same id: at worst it is delivered twice, and
 * the first manifest wins.
 */
async function findRequest({ log, status, images }: SubmitDeps, id: string) {
  const state = await bestEffort(log, 'looking for an earlier request', status.get(id))
  if (state !== undefined) return state.request
  const manifest = await bestEffort(log, 'looking for an earlier result', images.getManifest(id))
  return manifest?.request
}

/** A full queue has room again when one job is done; the jitter keeps refused clients from retrying in step. */
async function withRetryAfter(
  deps: SubmitDeps,
  error: AppError,
  request: ResolvedRequest,
): Promise<AppError> {
  if (error.code !== 'queue_full' && error.code !== 'unavailable') return error
  const load = await bestEffort(deps.log, 'reading the load', deps.status.load(), 'debug')
  const oneJob = (workUnits(request) * (load?.secondsPerUnit ?? 0)) / Math.max(1, load?.workers ?? 1)
  const retryAfterSeconds = Math.ceil(Math.min(60, Math.max(5, oneJob)) * (1 + Math.random()))
  return new AppError(error.code, error.message, { retryAfterSeconds, cause: error })
}

function checkKey(key: string): void {
  if (/^[\x21-\x7e]+$/.test(key) && key.length <= longestKey) return
  const rule = `1 to ${longestKey} visible ASCII characters`
  throw new AppError(
    'invalid_request',
    `Idempotency-Key must have ${rule}, but had ${key.length} characters.`,
    {
      param: 'Idempotency-Key',
    },
  )
}

function keyReused(key: string): AppError {
  const shown = key.length > 40 ? `${key.slice(0, 40)}...` : key
  return new AppError(
    'invalid_request',
    `Idempotency-Key ${shown} was already used for a different request.`,
    {
      param: 'Idempotency-Key',
    },
  )
}

function seedOf(key: string): number {
  return createHash('sha256').update(`seed:${key}`).digest().readUInt32BE(0)
}
