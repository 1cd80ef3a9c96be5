import type { ResolvedRequest, Task } from './job.ts'
import { firstSteps, hiresSteps } from './pictures.ts'
import type { Held } from './ports.ts'

/**
 * How much work a job is. The unit is one call of the model for one megapixel: the unit of speeds, of estimates, and of
 * what a caller may ask for.
 */

/** What a server knows about a request and a worker does not need to know. */
export interface WorkFacts {
  /** How often the sampler calls the model in each step. */
  readonly callsPerStep?: number
  /** Windows of 75 tokens of the longer prompt. */
  readonly windows?: number
  /** Of the upscalers that the request names, by the size of the picture that goes in. */
  readonly enlarging?: number
}

/** Each further window of a prompt makes a call about this much longer: more keys and values in every cross attention. */
const windowShare = 0.05

/** Pictures x (steps x calls per step x megapixels, twice with guidance, and a little more for a long prompt; upscalers). */
export function workUnits(
  request: ResolvedRequest,
  { callsPerStep = 1, windows = 1, enlarging = 0 }: WorkFacts = {},
): number {
  const { count, width, height, guidance_scale, hires } = request
  const guided = guidance_scale > 1 ? 2 : 1
  const longer = 1 + windowShare * (windows - 1)
  const steps = firstSteps(request) * width * height
  const larger = hires === undefined ? 0 : hiresSteps(request) * hires.width * hires.height
  return count * (((steps + larger) * callsPerStep * guided * longer) / 1e6 + enlarging)
}

/** The work of a job; of a task from a server that did not say, what its request alone tells. */
export function unitsOf({ units, request }: Pick<Task, 'units' | 'request'>): number {
  return units ?? workUnits(request)
}

/** Whether one more job of so much work is too much for an account that has these. */
export function exceeds(held: Held, units: number, most: Partial<Held>): boolean {
  const { jobs = Number.POSITIVE_INFINITY, units: mostUnits = Number.POSITIVE_INFINITY } = most
  return held.jobs + 1 > jobs || (held.jobs > 0 && held.units + units > mostUnits)
}
