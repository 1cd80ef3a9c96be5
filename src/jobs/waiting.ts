import type { Progress, ResolvedRequest } from './job.ts'
import { type Load, workUnits } from './ports.ts'

/**
 * How long a job still takes, and when its client should ask again.
 *
 * Times are estimates for people: they are never used to decide anything about a job.
 */

const shortestPollMs = 500
const longestPollMs = 30_000

/** Work that is left of a request, in units (see `workUnits`). */
export function remainingUnits(request: ResolvedRequest, progress: Progress | undefined): number {
  const units = workUnits(request)
  return progress === undefined || progress.steps === 0 ? units : units * (1 - progress.step / progress.steps)
}

/** Undefined while no worker has told its speed. Rounded to a tenth of a second. */
export function estimateSeconds(units: number | undefined, load: Load): number | undefined {
  if (units === undefined || load.secondsPerUnit === undefined) return undefined
  return Math.round(units * load.secondsPerUnit * 10) / 10
}

/**
 * A client that obeys asks about three times a job: once half-way, once when the job should be finished, and
 * seldom once more because the estimate was short. Without an estimate the pauses grow with the time waited.
 */
export function pollAfterMs(waitedSeconds: number, remainingSeconds: number | undefined): number {
  const waited = Math.max(0, waitedSeconds)
  const seconds = remainingSeconds === undefined ? waited / 2 : nextQuestion(waited, remainingSeconds)
  return Math.round(Math.min(longestPollMs, Math.max(shortestPollMs, seconds * 1000)))
}

function nextQuestion(waited: number, remaining: number): number {
  const total = waited + remaining
  return waited < 0.4 * total ? total / 2 - waited : remaining + 0.05 * total
}
