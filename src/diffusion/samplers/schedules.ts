/**
 * How the noise levels of a run are spaced. Follows diffusers' `set_timesteps` of the multistep solvers
 * (scheduling_dpmsolver_multistep.py), numpy's rounding included.
 */

export const schedules = ['karras', 'normal', 'exponential', 'sgm_uniform', 'leading', 'lu'] as const

/**
 * `karras`: https://arxiv.org/abs/2206.00364 equation 5 with rho 7. `normal`: evenly spaced timesteps
 * ("linspace"). `sgm_uniform`: evenly spaced from the very end ("trailing"). `leading`: the spacing of SD 1.5's
 * own config, with an offset of 1. `exponential`: evenly spaced in log sigma. `lu`: evenly spaced in lambda.
 */
export type Schedule = (typeof schedules)[number]

export interface Levels {
  /** What the model is told, one a step, falling. */
  readonly timesteps: Float64Array
  /** Noise level before each step, falling. */
  readonly sigmas: Float64Array
}

const karrasRho = 7
const leadingOffset = 1

/** @param training sigmas of all training timesteps, rising */
export function spaceLevels(schedule: Schedule, training: Float64Array, steps: number): Levels {
  const lowest = training[0] as number
  const highest = training.at(-1) as number
  if (schedule === 'normal' || schedule === 'sgm_uniform' || schedule === 'leading') {
    const timesteps = evenTimesteps(schedule, training.length, steps)
    return { timesteps, sigmas: timesteps.map((t) => training[t] as number) }
  }
  const sigmas =
    schedule === 'karras'
      ? ramp(highest ** (1 / karrasRho), lowest ** (1 / karrasRho), steps).map((root) => root ** karrasRho)
      : ramp(Math.log(highest), Math.log(lowest), steps).map(Math.exp)
  const log = training.map(Math.log)
  const exact = sigmas.map((sigma) => sigmaToTimestep(sigma, log))
  // diffusers leaves exponential timesteps fractional and casts them to integers
  return {
    timesteps: schedule === 'exponential' ? exact.map(Math.trunc) : exact.map(roundHalfToEven),
    sigmas,
  }
}

function evenTimesteps(
  schedule: 'normal' | 'sgm_uniform' | 'leading',
  count: number,
  steps: number,
): Float64Array {
  return Float64Array.from({ length: steps }, (_, i) => {
    if (schedule === 'normal') return roundHalfToEven(((steps - i) * (count - 1)) / steps)
    if (schedule === 'sgm_uniform') return roundHalfToEven(count - (i * count) / steps) - 1
    return (steps - i) * Math.floor(count / (steps + 1)) + leadingOffset
  })
}

/** `steps` numbers from `from` to `to`, both included. */
function ramp(from: number, to: number, steps: number): Float64Array {
  return Float64Array.from(
    { length: steps },
    (_, i) => from + (steps === 1 ? 0 : i / (steps - 1)) * (to - from),
  )
}

/** The fractional timestep whose noise level is sigma, by linear interpolation in log sigma. */
function sigmaToTimestep(sigma: number, log: Float64Array): number {
  const target = Math.log(Math.max(sigma, 1e-10))
  let low = log.findLastIndex((value) => value <= target)
  low = Math.min(Math.max(low, 0), log.length - 2)
  const [a, b] = [log[low] as number, log[low + 1] as number]
  const part = Math.min(Math.max((a - target) / (a - b), 0), 1)
  return low + part
}

/** numpy's rounding: 166.5 becomes 166, where Math.round gives 167 and another picture. */
function roundHalfToEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}
