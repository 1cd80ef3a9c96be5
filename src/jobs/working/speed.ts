import type { Task } from '../job.ts'
import { unitsOf } from '../work.ts'
import type { Made } from './attempt.ts'

/** Recent speed of a worker, while it computes. */
export interface Speed {
  /** Seconds per unit of work (see `work.ts`); undefined before the first job. */
  secondsPerUnit: number | undefined
}

/**
 * Learns from a job with at least two steps. What comes before the first step (loading a model) is not part of the
 * speed: by that, a small job would make all others seem slow. Old and new have equal weight.
 */
export function learnSpeed(
  speed: Speed,
  task: Task,
  { secondsPerStep, steps }: Omit<Made, 'pictures'>,
): void {
  if (secondsPerStep === undefined) return
  const measured = (secondsPerStep * steps) / unitsOf(task)
  speed.secondsPerUnit = speed.secondsPerUnit === undefined ? measured : (speed.secondsPerUnit + measured) / 2
}
