import { JobError, type JobState, type JobStatus, Kept, ResolvedRequest, statusRank } from '../../jobs/job.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import type { Reply } from './dial.ts'

/** The state of a job as the fields of a hash. */

export const stateFields = [
  'status',
  'request',
  'created_at',
  'expires_at',
  'started_at',
  'step',
  'steps',
  'error',
  'units',
  'kept',
  'account',
  'preview',
  'class',
]

export function texts(reply: Reply | undefined): (string | undefined)[] {
  return Array.isArray(reply) ? reply.map((each) => (typeof each === 'string' ? each : undefined)) : []
}

/** Undefined if it is missing, or if another version wrote it unreadably: a cache may miss. */
export function toState(id: string, values: Reply, cancelRequested: boolean): JobState | undefined {
  const [
    status,
    request,
    created_at,
    expires_at,
    started_at,
    step,
    steps,
    error,
    units,
    kept,
    account,
    preview,
    priority,
  ] = texts(values)
  if (created_at === undefined || expires_at === undefined || !isStatus(status)) return undefined
  const wanted = parsed(ResolvedRequest, request)
  if (wanted === undefined) return undefined
  const reason = parsed(JobError, error)
  return {
    id,
    status,
    request: wanted,
    created_at,
    expires_at,
    ...(units === undefined ? {} : { units: Number(units) }),
    ...(priority === 'batch' ? { priority } : {}),
    ...parsed(Kept, kept),
    ...(account === undefined ? {} : { account }),
    ...(started_at === undefined ? {} : { started_at }),
    ...(step === undefined || steps === undefined
      ? {}
      : { progress: { step: Number(step), steps: Number(steps) } }),
    ...(preview === undefined ? {} : { preview: Number(preview) }),
    ...(reason === undefined ? {} : { error: reason }),
    ...(cancelRequested ? { cancel_requested: true } : {}),
  }
}

function isStatus(text: string | undefined): text is JobStatus {
  return text !== undefined && Object.hasOwn(statusRank, text)
}

function parsed<T extends typeof ResolvedRequest | typeof JobError | typeof Kept>(
  schema: T,
  text: string | undefined,
) {
  if (text === undefined) return undefined
  try {
    return fromJson(schema, text)
  } catch {
    return undefined
  }
}
