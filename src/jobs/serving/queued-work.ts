import { type Priority, priorities } from '../fields.ts'
import type { Backlog, Load, StatusStore, TaskQueue } from '../ports.ts'

/**
 * How much work waits, for autoscaling: seconds that one worker would take for it. From the units of the jobs and the
 * speed that workers measured (`working/speed.ts`), which leaves out what comes before the first step of a job.
 */

export interface QueuedWork {
  readonly jobs: number
  readonly seconds: number
  readonly oldestSeconds: number
}

/**
 * Of a fleet that has measured nothing, or forgot it: what waits must count for something, or an autoscaler never starts
 * the worker that would measure. With the assumed units below a job then counts for 10 seconds.
 */
export const assumedSecondsPerUnit = 1
/** Of a job that only the queue has: about a picture of 512x512 with 20 steps and guidance. */
export const assumedUnits = 10

/**
 * By class. The status store has the work; the queue may have jobs that it does not (it was wiped): those count as much as
 * its own do on average.
 */
export function queuedWork(
  backlog: Readonly<Record<Priority, Backlog>>,
  depths: Readonly<Record<Priority, number>>,
  { secondsPerUnit = assumedSecondsPerUnit }: Load,
): Readonly<Record<Priority, QueuedWork>> {
  const known = priorities.map((priority) => backlog[priority])
  const sum = (value: (each: Backlog) => number) => known.reduce((total, each) => total + value(each), 0)
  const all = { jobs: sum(({ jobs }) => jobs), units: sum(({ units }) => units) }
  const mean = ({ jobs, units }: Pick<Backlog, 'jobs' | 'units'>) => (jobs === 0 ? undefined : units / jobs)
  const of = (priority: Priority): QueuedWork => {
    const { jobs, units, oldestSeconds } = backlog[priority]
    const missing = Math.max(0, depths[priority] - jobs)
    const each = mean(backlog[priority]) ?? mean(all) ?? assumedUnits
    return { jobs: jobs + missing, seconds: (units + missing * each) * secondsPerUnit, oldestSeconds }
  }
  return { interactive: of('interactive'), batch: of('batch') }
}

/** What there is now, and how many workers take tasks. Rejects `unavailable` unless queue and status store answer. */
export async function readQueuedWork({
  queue,
  status,
}: {
  readonly queue: Pick<TaskQueue, 'depths'>
  readonly status: Pick<StatusStore, 'backlog' | 'load'>
}) {
  const [depths, backlog, load] = await Promise.all([queue.depths(), status.backlog(), status.load()])
  return { work: queuedWork(backlog, depths, load), workers: load.workers }
}
