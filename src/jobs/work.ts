import type { ResolvedRequest, Task } from './job.ts'
import { firstSteps, hiresSteps, rowsOf, stepsOf, triesOf } from './pictures.ts'
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

/** Finishing a megapixel, with cutting the product out, takes a small part of a call of the models that people use. */
const callsPerFinish = 0.2

/** Pictures x tries x steps x calls per step x megapixels, a step with guidance twice, and a little more for a long prompt, upscalers and finishing. */
export function workUnits(
  request: ResolvedRequest,
  { callsPerStep = 1, windows = 1, enlarging = 0 }: WorkFacts = {},
): number {
  const { count, width, height, gate, hires } = request
  const longer = 1 + windowShare * (windows - 1)
  // each try counts beforehand: whether one is needed shows when it is too late to refuse
  const drawn = count * triesOf({ gate }) * callsPerStep * longer
  const larger = hires === undefined ? 0 : rowsOf(request, hiresSteps(request)) * hires.width * hires.height
  const drawing = (drawn * (rowsOf(request, firstSteps(request)) * width * height + larger)) / 1e6
  return drawing + count * enlarging + finishUnits(request)
}

/** The part of a job's work that is not drawing. */
function finishUnits({ count, finish }: ResolvedRequest): number {
  return finish === undefined ? 0 : (count * finish.width * finish.height * callsPerFinish) / 1e6
}

/** The work of drawing so many steps, of a job that was worth `unitsOf`: tries that the gate did not need are none. */
export function drawnUnits(task: Pick<Task, 'units' | 'request'>, steps: number): number {
  const { request } = task
  if (stepsOf(request) === 0) return 0
  const drawing = Math.max(0, unitsOf(task) - finishUnits(request))
  const tries = triesOf(request)
  return tries === 1 ? drawing : drawing * Math.min(1, steps / (stepsOf(request) * request.count * tries))
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
