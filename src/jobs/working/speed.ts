import type { ResolvedRequest } from '../job.ts'
import { workUnits } from '../ports.ts'

/** How fast a worker lately was, from the receipt of a task to its acknowledgement. */
export interface Speed {
  /** Seconds for one unit of work (see `workUnits`); undefined until a job was done. */
  secondsPerUnit: number | undefined
}

/** Old and new count alike: one odd job (a cold start) is soon forgotten. */
export function learnSpeed(speed: Speed, request: ResolvedRequest, seconds: number): void {
  const measured = seconds / workUnits(request)
  speed.secondsPerUnit = speed.secondsPerUnit === undefined ? measured : (speed.secondsPerUnit + measured) / 2
}
