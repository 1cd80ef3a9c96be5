import { anonymous, type Caller, requirePriority, requireScope, whose } from '../caller.ts'
import { AppError, toAppError } from '../errors.ts'
import type { RequestLimits } from '../fields.ts'
import { type ResolvedRequest, statusRank, type Task, versionOf, type Webhook } from '../job.ts'
import { expiryOf } from '../job-id.ts'
import { bestEffort } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { findNamed, type Offer } from '../offer.ts'
import type { PromptReader, TaskQueue } from '../ports.ts'
import { promptPreviews } from '../preview-count.ts'
import { deliveredSize, enlargingUnits } from '../request/larger.ts'
import { promptCost } from '../request/prompt-cost.ts'
import { invalidRequest, type Resolved, resolveRequest } from '../request/resolve.ts'
import { retryBriefly } from '../retry.ts'
import { isTask, taskFault } from '../task-check.ts'
import { workUnits } from '../work.ts'
import { type AdmissionDeps, admit } from './admission.ts'
import { checkKey, findEarlier, hashOfSent, isSameRequest, keyReused } from './idempotency.ts'
import { type AnswerDeps, type JobView, viewJob, waitingView } from './job-view.ts'
import { checkRate } from './rate.ts'
import type { Returns } from './returns.ts'
import { uploadFaults } from './upload.ts'
import type { Webhooks } from './webhooks/webhooks.ts'

export interface SubmitDeps extends AnswerDeps, AdmissionDeps {
  readonly queue: TaskQueue
  /** The current offer: files come and go while a server runs. */
  readonly offer: () => Offer
  readonly prompts: PromptReader
  readonly limits: RequestLimits
  readonly webhooks: Pick<Webhooks, 'accept'>
  readonly metrics: Metrics
  /** When those who find the queue full come back. */
  readonly returns: Returns
}

export interface SubmitOptions {
  readonly caller: Caller
  readonly idempotencyKey?: string
  /** The trace that the request belongs to: a W3C `traceparent`. */
  readonly trace?: string
  /** Instead of the field of the body: for other APIs. */
  readonly webhook?: Webhook
  /** What the client sent, where that is not the body: a key that is repeated is compared with it. */
  readonly sent?: unknown
  /** Stores what a valid request starts from, once it is clear that it makes a job; what it returns is part of the request. */
  readonly prepare?: () => Promise<Pick<ResolvedRequest, 'init_image'>>
  /** The address of this service as the client reaches it, for links in the webhook. */
  readonly base?: string
}

/**
 * Accepts a request. The publish is the one durable write of acceptance: when this resolves, the job survives any
 * crash; `unavailable` leaves open whether it was accepted. The status is written after it, and may be missing.
 *
 * With an idempotency key, id and seed come from the key, so a request that is resent because its answer was
 * lost finds the same job. Rejects `idempotency_key_reused` when the key stands for a different request, `forbidden`,
 * `rate_limited`.
 */
export async function submitJob(deps: SubmitDeps, body: unknown, options: SubmitOptions): Promise<JobView> {
  const { caller, trace, idempotencyKey: key } = options
  const { ids } = deps
  requireScope(caller, 'jobs:write')
  if (key === undefined) await checkRate(deps.limiter, caller)
  const now = deps.now()
  const account = ids.accountTag(caller.account)
  const owned = caller.name === anonymous ? {} : { caller: caller.name }
  const wanted = { now, by: caller, account, ...owned, ...(trace === undefined ? {} : { trace }) }
  const decide = (seed?: number) => {
    const { webhook: url, ...decided } = resolveRequest(body, deps.offer(), deps.limits, seed)
    requirePriority(caller, decided.priority)
    const { base = '', webhook: asked = { base, ...(url === undefined ? {} : { url }) } } = options
    const webhook = deps.webhooks.accept(caller, asked)
    return { ...decided, ...(webhook === undefined ? {} : { webhook }) }
  }
  const prepared = async (decided: ReturnType<typeof decide>) => {
    const { prepare } = options
    return prepare === undefined
      ? decided
      : { ...decided, request: { ...decided.request, ...(await prepare()) } }
  }
  if (key === undefined)
    return accept(deps, { ...(await prepared(decide())), ...wanted, id: ids.issue(now, caller.name) })

  checkKey(key)
  const decideByKey = () => decide(ids.seedFromKey(caller.account, key))
  const sent = hashOfSent(options.sent ?? body)
  const keyIds = ids.fromKey(caller.account, key, now, caller.name)
  for (const id of keyIds) {
    const earlier = await findEarlier(deps, id)
    if (earlier === undefined) continue
    if (isSameRequest(earlier, sent, () => decideByKey().request)) return viewJob(deps, id, caller.name)
    await checkRate(deps.limiter, caller)
    throw keyReused(key)
  }
  await checkRate(deps.limiter, caller)
  try {
    return await accept(deps, { ...(await prepared(decideByKey())), ...wanted, id: keyIds[0], sent })
  } catch (thrown) {
    throw toAppError(thrown).code === 'idempotency_key_reused' ? keyReused(key) : thrown
  }
}

/** A request with every field decided, under an id that was derived or issued for it. */
export interface Wanted
  extends Omit<Resolved, 'webhook'>,
    Pick<Task, 'id' | 'sent' | 'trace' | 'caller' | 'webhook'> {
  readonly now: Date
  readonly by: Caller
  readonly account: string
  /** When the job's results are deleted; absent: after the usual time. */
  readonly expires_at?: string
}

/**
 * Two requests with one key that arrive at the same moment both find no earlier job. So the answer is what the stores
 * have afterwards, and not what was decided here: the queue where it can tell, otherwise the status store, by which
 * workers go too.
 */
export async function accept(deps: SubmitDeps, { now, by, ...wanted }: Wanted): Promise<JobView> {
  const { id, account, request, sent } = wanted
  const prompts = await promptCost(request, deps.limits, deps.prompts)
  const faults = [...prompts.faults, ...(await uploadFaults(deps, request, by.name))]
  if (faults.length > 0) throw invalidRequest(faults)
  const created_at = now.toISOString()
  const expires_at = wanted.expires_at ?? expiryOf(created_at, deps.ttlSeconds)
  const offer = deps.offer()
  const units = workUnits(request, {
    callsPerStep: callsPerStepOf(request, offer),
    windows: prompts.windows,
    enlarging: enlargingUnits(request, offer),
  })
  const looks = previewsOf(wanted)
  const task: Task = { v: versionOf(request), ...wanted, ...looks, units, created_at, expires_at }
  // a worker puts such a message aside, and its job would be queued for ever
  if (!isTask(task)) throw new Error(`no worker would take the task of this request: ${taskFault(task)}`)
  const giveBack = await admit(deps, by, {
    id,
    account,
    request,
    units,
    delivered: deliveredSize(request, offer),
  })
  try {
    await deps.queue.publish(task, await laneOf(deps, account, task.priority))
  } catch (thrown) {
    await giveBack()
    throw await withRetryAfter(deps, toAppError(thrown), units)
  }
  const create = () => deps.status.create(task)
  const created = sent === undefined ? create() : retryBriefly(create)
  const standing = await bestEffort(deps.log, 'writing the status of a new job', created)
  if (sent !== undefined && standing !== undefined && !isSameRequest(standing, sent, () => request)) {
    throw new AppError('idempotency_key_reused', 'The id stands for another request.')
  }
  deps.metrics.jobsAccepted.add({ class: task.priority ?? 'interactive' })
  deps.log.info({ job: id, units, ...whose(by) }, 'job accepted')
  // from here on nothing may reject: the job is accepted, and a 503 would say that it may not be
  if (standing !== undefined && statusRank[standing.status] > statusRank.running) {
    const view = await bestEffort(deps.log, 'reading a job that is final', viewJob(deps, id, by.name))
    if (view !== undefined) return view
  }
  return waitingView(deps, standing ?? { id, status: 'queued', request, units, created_at, expires_at })
}

/** A worker of an earlier version has a bound for `previews`, and ignores the count. */
function previewsOf({ previews = 0 }: Pick<Wanted, 'previews'>): Pick<Task, 'previews' | 'preview_count'> {
  return previews > promptPreviews ? { previews: promptPreviews, preview_count: previews } : {}
}

/** Without the status store the queue chooses: callers may share a lane then, and no job is lost. */
async function laneOf(
  { queue: { lanes }, status, log }: SubmitDeps,
  account: string,
  priority: Task['priority'] = 'interactive',
): Promise<{ lane?: number }> {
  if (lanes === 1) return {}
  const lane = await bestEffort(log, 'choosing a lane', status.lane(account, priority, lanes))
  return lane === undefined ? {} : { lane }
}

/** The model's entry may be gone by now: then it calls once. */
export function callsPerStepOf(
  { model: name, sampler }: ResolvedRequest,
  { models, samplers }: Offer,
): number {
  const model = findNamed(models, name)
  const offered = model === undefined ? [] : samplers.of(model)
  return offered.find((each) => each.name === sampler)?.calls_per_step ?? 1
}

/** A full queue has room again when one job is done. */
async function withRetryAfter(deps: SubmitDeps, error: AppError, units: number): Promise<AppError> {
  if (error.code !== 'queue_full' && error.code !== 'unavailable') return error
  const load = await bestEffort(deps.log, 'reading the load', deps.status.load(), 'debug')
  const oneJob = (units * (load?.secondsPerUnit ?? 0)) / Math.max(1, load?.workers ?? 1)
  return new AppError(error.code, error.message, { retryAfterSeconds: deps.returns(oneJob), cause: error })
}
