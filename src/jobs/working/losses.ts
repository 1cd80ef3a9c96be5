import { bestEffort, type Log } from '../log.ts'
import type { Delivery, StatusStore } from '../ports.ts'

/**
 * How often a job killed its worker. A queue counts every delivery that was not ended; when only the connection broke, the
 * worker is alive and takes note of it, so that a bad network does not fail a good job. Without the notes (the status
 * store was unavailable or wiped) all count.
 */

interface LossDeps {
  readonly status: StatusStore
  readonly log: Log
}

/** Longer than a job is likely to wait between two deliveries. */
const keptSeconds = 24 * 3600

const nameOf = (id: string) => `survived:${id}`

/** Called by a worker that lost a delivery and is alive. */
export async function noteSurvival({ status, log }: LossDeps, id: string): Promise<void> {
  const note = async () => {
    const before = Number((await status.noted(nameOf(id))) ?? 0)
    await status.note(nameOf(id), String(before + 1), keptSeconds)
  }
  await bestEffort(log, 'noting that a worker survived', note())
}

/** The losses of a delivery that its worker did not survive. */
export async function deadlyLosses(
  { status, log }: LossDeps,
  { losses }: Delivery,
  id: string,
): Promise<number> {
  if (losses === 0) return 0
  const survived = await bestEffort(log, 'reading how often workers survived', status.noted(nameOf(id)))
  return Math.max(0, losses - Number(survived ?? 0))
}
