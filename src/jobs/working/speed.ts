import type { Task } from '../job.ts'
import { unitsOf } from '../work.ts'

/** Recent speed of a worker, from the receipt of a task to its acknowledgement. */
export interface Speed {
  /** Seconds per unit of work (see `work.ts`); undefined before the first job. */
  secondsPerUnit: number | undefined
}

/** Old and new have equal weight: the effect of one odd job (a cold start) soon fades. */
export function learnSpeed(speed: Speed, task: Task, seconds: number): void {
  const measured = seconds / unitsOf(task)
  speed.secondsPerUnit = speed.secondsPerUnit === undefined ? measured : (speed.secondsPerUnit + measured) / 2
}
