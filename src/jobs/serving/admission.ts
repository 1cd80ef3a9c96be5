import type { Caller } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { ResolvedRequest } from '../job.ts'
import { bestEffort, type Log } from '../log.ts'
import type { Held, Load, RateLimiter, StatusStore } from '../ports.ts'
import { invalidRequest } from '../request/resolve.ts'
import { checkRate } from './rate.ts'
import { pictureBytes, type Space } from './space.ts'

/** Whether one more job may be accepted: what it costs against what its caller, a worker and the storage have left. */

export interface AdmissionDeps {
  readonly status: StatusStore
  readonly limiter: RateLimiter
  readonly space: Space
  /** Maximum time for one attempt at a job. */
  readonly attemptSeconds: number
  readonly log: Log
}

export interface Admission {
  readonly id: string
  readonly account: string
  readonly units: number
  readonly request: ResolvedRequest
  /** The size of its pictures as they are stored. */
  readonly delivered: { readonly width: number; readonly height: number }
}

/**
 * Counts the job against all limits. Returns how to give it back if it is not published after all. Rejects
 * `invalid_request` if no worker can finish it in time, `rate_limited`, `storage_full`; nothing is counted then.
 */
export async function admit(
  deps: AdmissionDeps,
  caller: Caller,
  job: Admission,
): Promise<() => Promise<void>> {
  const { status, limiter, space, log } = deps
  const load = await bestEffort(log, 'reading the load', status.load(), 'debug')
  checkDuration(deps, job, load)
  const undo: (() => Promise<unknown>)[] = []
  const giveBack = async () => {
    for (const action of undo) await bestEffort(log, 'giving back what a job had reserved', action())
  }
  try {
    const most = caller.limits.unfinished ?? {}
    if (Object.keys(most).length > 0) {
      const held = await Promise.try(() => status.reserve(job, most)).catch(async (err: unknown) => {
        log.warn({ err }, 'the jobs of a caller cannot be counted; a rate takes their place')
        const counted = countedByRate(caller, most)
        await checkRate(limiter, counted, 'held')
        undo.push(() => limiter.take(counted, 'held', -1))
        return undefined
      })
      if (held !== undefined) throw tooManyUnfinished(held, most, job.units, load)
      undo.push(() => status.release(job))
    }
    const bytes = pictureBytes(job.request, job.delivered)
    for (const [name, amount] of [
      ['work', job.units],
      ['resultBytes', bytes],
    ] as const) {
      await checkRate(limiter, caller, name, amount)
      undo.push(() => limiter.take(caller, name, -amount))
    }
    await space.take('results', bytes)
    return giveBack
  } catch (thrown) {
    await giveBack()
    throw thrown
  }
}

/**
 * With the status store unavailable nobody learns when jobs end. Then a caller may have as many jobs as it may have
 * unfinished ones, and again as many over ten minutes; of that the limiter without its store allows half.
 */
function countedByRate(caller: Caller, { jobs }: Partial<Held>): Caller {
  if (jobs === undefined) return caller
  return { ...caller, limits: { ...caller.limits, held: { perMinute: jobs / 10, burst: jobs } } }
}

/** Speeds are measured on other sizes: only what is out of reach by far is refused here, the rest by the worker. */
const doubt = 2

function checkDuration(
  { attemptSeconds }: AdmissionDeps,
  { units }: Admission,
  load: Load | undefined,
): void {
  const seconds = units * (load?.secondsPerUnit ?? 0)
  if (seconds <= doubt * attemptSeconds) return
  const message = `The job would take about ${duration(seconds)} at the speed measured here, but may take ${duration(attemptSeconds)}. Lower steps, count, width or height.`
  throw invalidRequest([{ param: 'steps', message }])
}

function tooManyUnfinished(held: Held, most: Partial<Held>, units: number, load: Load | undefined): AppError {
  const counted =
    most.jobs !== undefined && held.jobs >= most.jobs
      ? `${held.jobs} jobs that wait or run, the maximum for one caller (${most.jobs})`
      : `${held.jobs} jobs of ${Math.ceil(held.units)} units of work that wait or run; with this one of ${Math.ceil(units)} they would exceed the maximum for one caller (${most.units})`
  const oneJob =
    ((held.units / Math.max(1, held.jobs)) * (load?.secondsPerUnit ?? 0)) / Math.max(1, load?.workers ?? 1)
  const retryAfterSeconds = Math.ceil(Math.min(600, Math.max(5, oneJob)))
  const message = `You have ${counted}. Try again in ${retryAfterSeconds} seconds, or cancel some.`
  return new AppError('rate_limited', message, { retryAfterSeconds })
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} seconds`
  return seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`
}
