import type { Progress, Task } from '../job.ts'
import type { Load } from '../ports.ts'
import { unitsOf } from '../work.ts'

/**
 * How long a job still takes, and when its client should poll again.
 *
 * Times are estimates for people: they are never used to decide anything about a job.
 */

const shortestPollMs = 500
/** Also the longest time before a client notices that a job finished early, or that its worker died. */
const longestPollMs = 1_800_000
/** Without an estimate it is unknown whether a longer pause is worthwhile. */
const longestBlindPollMs = 30_000

/** Work that is left of a job, in units. */
export function remainingUnits(job: Pick<Task, 'units' | 'request'>, progress: Progress | undefined): number {
  const units = unitsOf(job)
  return progress === undefined || progress.steps === 0 ? units : units * (1 - progress.step / progress.steps)
}

/** Undefined until a worker has reported its speed. Rounded to a tenth of a second. */
export function estimateSeconds(units: number | undefined, load: Load): number | undefined {
  if (units === undefined || load.secondsPerUnit === undefined) return undefined
  return Math.round(units * load.secondsPerUnit * 10) / 10
}

/**
 * A client that follows this polls about three times per job however long it waits: once half-way, once when the job
 * should be finished, and rarely once more because the estimate was short. Without an estimate each pause is as long as the
 * whole wait before it.
 */
export function pollAfterMs(waitedSeconds: number, remainingSeconds: number | undefined): number {
  const waited = Math.max(0, waitedSeconds)
  if (remainingSeconds === undefined) return within(waited * 1000, longestBlindPollMs)
  return within(nextQuestion(waited, remainingSeconds) * 1000, longestPollMs)
}

function nextQuestion(waited: number, remaining: number): number {
  const total = waited + remaining
  return waited < 0.4 * total ? total / 2 - waited : remaining + 0.05 * total
}

function within(ms: number, longest: number): number {
  return Math.round(Math.min(longest, Math.max(shortestPollMs, ms)))
}
