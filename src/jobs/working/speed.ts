import type { ResolvedRequest } from '../job.ts'
import { workUnits } from '../ports.ts'

/** Recent speed of a worker, from the receipt of a task to its acknowledgement. */
export interface Speed {
  /** Seconds per unit of work (see `workUnits`); undefined before the first job. */
  secondsPerUnit: number | undefined
}

/** Old and new have equal weight: the effect of one odd job (a cold start) soon fades. */
export function learnSpeed(speed: Speed, request: ResolvedRequest, seconds: number): void {
  const measured = seconds / workUnits(request)
  speed.secondsPerUnit = speed.secondsPerUnit === undefined ? measured : (speed.secondsPerUnit + measured) / 2
}
