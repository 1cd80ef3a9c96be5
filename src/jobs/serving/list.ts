import { anonymous, type Caller } from '../caller.ts'
import { AppError, type ErrorCode, type Fault } from '../errors.ts'
import { finalStatuses } from '../job.ts'
import type { ListPlace, RateLimiter } from '../ports.ts'
import { invalidRequest } from '../request/resolve.ts'
import { describeValue, listed } from '../wording.ts'
import { type AnswerDeps, type JobView, viewJob } from './job-view.ts'
import { checkRate } from './rate.ts'

/** What a client may ask of its list. Values are checked here: they come from an address. */
export interface ListRequest {
  /** One or more statuses, with commas between; absent: all. */
  readonly status?: string | undefined
  /** `next` of the page before. */
  readonly cursor?: string | undefined
  /** 1 to 100; 20 if absent. */
  readonly limit?: string | undefined
}

export interface JobList {
  readonly jobs: JobView[]
  /** The cursor of the next page; absent at the end. */
  readonly next?: string
}

const listedStatuses = ['queued', 'running', ...finalStatuses] as const
type ListedStatus = (typeof listedStatuses)[number]
const [defaultLimit, mostAtOnce] = [20, 100]
/** Manifests that are read at the same time. */
const readers = 8
const gone: readonly ErrorCode[] = ['not_found', 'expired', 'deleted']

/**
 * The caller's own jobs, newest first, as far as the status store remembers them. A page may be shorter than asked for.
 * Rejects `forbidden` for an anonymous caller: it is known by its address only, which neighbours share, and an id is all
 * that one needs to see a job. Rejects `invalid_request`, `unavailable`, `rate_limited`: each job counts as a request.
 */
export async function listJobs(
  deps: AnswerDeps & { readonly requests: RateLimiter },
  caller: Caller,
  request: ListRequest,
): Promise<JobList> {
  if (caller.name === anonymous) {
    throw new AppError('forbidden', 'Jobs are listed for callers with a key only; keep the ids of your jobs.')
  }
  const { statuses, after, most } = checked(deps, caller, request)
  const account = deps.ids.accountTag(caller.account)
  const wanted = { most, ...(statuses && { statuses }), ...(after && { after }) }
  const { states, next } = await deps.status.list(account, wanted)
  // each is looked up as if it had been asked for alone; the request itself is counted already
  await checkRate(deps.requests, caller, 'requests', Math.max(0, states.length - 1))
  const views: JobView[] = []
  for (let start = 0; start < states.length; start += readers) {
    const some = states.slice(start, start + readers).map(({ id }) => seen(deps, id, caller))
    views.push(...(await Promise.all(some)).flatMap((view) => view ?? []))
  }
  // a state may be older than what the manifest says
  const jobs = views.filter(({ status }) => statuses === undefined || statuses.includes(status))
  return { jobs, ...(next === undefined ? {} : { next: cursorOf(next) }) }
}

/** Undefined if it was deleted or has expired. */
async function seen(deps: AnswerDeps, id: string, { name }: Caller): Promise<JobView | undefined> {
  try {
    return await viewJob(deps, id, name)
  } catch (thrown) {
    if (thrown instanceof AppError && gone.includes(thrown.code)) return undefined
    throw thrown
  }
}

function checked(deps: AnswerDeps, { name }: Caller, { status, cursor, limit }: ListRequest) {
  const faults: Fault[] = []
  const statuses =
    status === undefined || status === '' ? undefined : status.split(',').map((each) => each.trim())
  const unknown = statuses?.find((each) => !isListed(each))
  if (unknown !== undefined) {
    const message = `status must be one or more of ${listed(listedStatuses)}, with commas between, but had ${describeValue(unknown)}.`
    faults.push({ param: 'status', message })
  }
  const most = limit === undefined || limit === '' ? defaultLimit : Number(limit)
  if (!(Number.isInteger(most) && most >= 1 && most <= mostAtOnce)) {
    const message = `limit must be a whole number from 1 to ${mostAtOnce}, but was ${describeValue(limit)}.`
    faults.push({ param: 'limit', message })
  }
  const after = cursor === undefined || cursor === '' ? undefined : placeOf(cursor)
  if (cursor !== undefined && cursor !== '' && !isOwn(deps, after, name)) {
    faults.push({ param: 'cursor', message: 'cursor must be the `next` of an earlier page of this list.' })
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return { statuses: statuses as ListedStatus[] | undefined, after, most }
}

function isListed(status: string): status is ListedStatus {
  return (listedStatuses as readonly string[]).includes(status)
}

/** A cursor is a place: a time, and the id of a job of the caller, which is signed. */
function cursorOf({ at, id }: ListPlace): string {
  return Buffer.from(`${at}.${id}`).toString('base64url')
}

function placeOf(cursor: string): ListPlace | undefined {
  const [, at, id] = /^(\d{1,15})\.([0-9a-z]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  return at === undefined || id === undefined ? undefined : { at: Number(at), id }
}

function isOwn({ ids }: AnswerDeps, place: ListPlace | undefined, name: string): boolean {
  if (place === undefined) return false
  try {
    ids.verify(place.id, name)
    return true
  } catch {
    return false
  }
}
