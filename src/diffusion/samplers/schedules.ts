import type { Schedule } from './catalog.ts'
import { betaQuantile } from './incomplete-beta.ts'
import { fallingRange, linspace, roundHalfToEven } from './spacing.ts'

export interface Levels {
  /** Timesteps for the model, one per step, falling. */
  readonly timesteps: Float64Array
  /** Noise level before each step, falling. */
  readonly sigmas: Float64Array
}

const karrasRho = 7
const betaShape = 0.6
const leadingOffset = 1

/**
 * The levels of the multistep solvers, as in `set_timesteps` of scheduling_dpmsolver_multistep.py and
 * scheduling_unipc_multistep.py: evenly spaced timesteps stop one short of the clean end, and all are integers;
 * those of `exponential` and `beta` are truncated, not rounded.
 * @param training sigmas of all training timesteps, rising
 */
export function spaceLevels(schedule: Schedule, training: Float64Array, steps: number): Levels {
  const count = training.length
  if (schedule === 'normal' || schedule === 'leading' || schedule === 'sgm_uniform') {
    const timesteps = (
      schedule === 'normal'
        ? linspace(0, count - 1, steps + 1)
            .reverse()
            .map(roundHalfToEven)
        : schedule === 'leading'
          ? leading(Math.floor(count / (steps + 1)), steps + 1, leadingOffset)
          : trailing(count, steps)
    ).slice(0, steps)
    return { timesteps, sigmas: timesteps.map((t) => training[t] as number) }
  }
  const [highest, lowest] = [training.at(-1) as number, training[0] as number]
  const sigmas = spaceSigmas(schedule, highest, lowest, steps)
  const exact = sigmaToTimestep(sigmas, training)
  const cut = schedule === 'exponential' || schedule === 'beta'
  return { timesteps: exact.map(cut ? Math.trunc : roundHalfToEven), sigmas }
}

/** What k-diffusion's samplers start from. */
export interface ScaledLevels extends Levels {
  /** Unit noise times this is the first sample. */
  readonly initialScale: number
}

/**
 * The levels of k-diffusion's samplers, as in `set_timesteps` of scheduling_euler_discrete.py and its copies: evenly
 * spaced timesteps include both ends and may be fractional. `karras`, `exponential` and `beta` go from the highest to
 * the lowest training level, which is `timestep_spacing="linspace"`. A single step begins at the lowest level, as
 * there.
 * @param training sigmas of all training timesteps, rising
 */
export function spaceScaledLevels(
  schedule: Exclude<Schedule, 'lu'>,
  training: Float64Array,
  steps: number,
): ScaledLevels {
  const count = training.length
  const timesteps =
    schedule === 'leading'
      ? leading(Math.floor(count / steps), steps, leadingOffset)
      : schedule === 'sgm_uniform'
        ? trailing(count, steps)
        : linspace(0, count - 1, steps)
            .reverse()
            .map(Math.fround)
  const sigmas = timesteps.map((t) => interpolate(t, training))
  const [highest, lowest] = [sigmas[0] as number, sigmas[steps - 1] as number]
  if (schedule === 'leading') return { timesteps, sigmas, initialScale: Math.hypot(highest, 1) }
  if (schedule === 'normal' || schedule === 'sgm_uniform') return { timesteps, sigmas, initialScale: highest }
  const spaced = spaceSigmas(schedule, highest, lowest, steps)
  return {
    timesteps: sigmaToTimestep(spaced, training).map(Math.fround),
    sigmas: spaced,
    initialScale: highest,
  }
}

/**
 * Timesteps of the samplers that use training timesteps only, as in `set_timesteps` of scheduling_ddim.py and
 * scheduling_pndm.py. @returns falling integers
 */
export function spaceTimesteps(
  schedule: 'normal' | 'leading' | 'sgm_uniform',
  count: number,
  steps: number,
  offset: number = leadingOffset,
): Float64Array {
  if (schedule === 'leading') return leading(Math.floor(count / steps), steps, offset)
  if (schedule === 'sgm_uniform') return trailing(count, steps)
  return linspace(0, count - 1, steps)
    .reverse()
    .map(roundHalfToEven)
}

/** Number of steps of the schedule that Latent Consistency Models, and those of TCD, are distilled on. */
const distilledSteps = 50

/**
 * Timesteps of the samplers of distilled models: evenly spaced among the 50 that the model was distilled on, starting at
 * the highest, as in `set_timesteps` of scheduling_lcm.py and scheduling_tcd.py.
 * @param steps at most 50 @returns falling integers
 */
export function spaceDistilled(count: number, steps: number): Float64Array {
  const stride = Math.floor(count / distilledSteps)
  return Float64Array.from(
    { length: steps },
    (_, i) => (distilledSteps - Math.floor(i * (distilledSteps / steps))) * stride - 1,
  )
}

/** Levels at given timesteps. @param timesteps falling integers @param training sigmas of all training timesteps, rising */
export function levelsAt(timesteps: Float64Array, training: Float64Array): ScaledLevels {
  const sigmas = timesteps.map((t) => training[t] as number)
  return { timesteps, sigmas, initialScale: sigmas[0] as number }
}

/** Timesteps of a sampler that calls the model twice in every step but the last: [a, b, b, c, c]. */
export function doubled(timesteps: Float64Array): Float64Array {
  return Float64Array.from(
    { length: 2 * timesteps.length - 1 },
    (_, i) => timesteps[Math.ceil(i / 2)] as number,
  )
}

function leading(ratio: number, steps: number, offset: number): Float64Array {
  return Float64Array.from({ length: steps }, (_, i) => (steps - 1 - i) * ratio + offset)
}

function trailing(count: number, steps: number): Float64Array {
  return fallingRange(count, count / steps, steps).map((t) => roundHalfToEven(t) - 1)
}

function spaceSigmas(
  schedule: 'karras' | 'exponential' | 'beta' | 'lu',
  highest: number,
  lowest: number,
  steps: number,
): Float64Array {
  const ramp = linspace(0, 1, steps)
  if (schedule === 'karras') {
    const [from, to] = [highest ** (1 / karrasRho), lowest ** (1 / karrasRho)]
    return ramp.map((part) => (from + part * (to - from)) ** karrasRho)
  }
  if (schedule === 'beta') {
    return ramp.map((part) => lowest + betaQuantile(1 - part, betaShape, betaShape) * (highest - lowest))
  }
  if (schedule === 'exponential') {
    return linspace(Math.log(highest), Math.log(lowest), steps).map(Math.exp)
  }
  const [from, to] = [Math.fround(Math.log(highest)), Math.fround(Math.log(lowest))]
  return ramp.map((part) => Math.exp(from + part * (to - from)))
}

/** numpy.interp at a timestep. */
function interpolate(timestep: number, training: Float64Array): number {
  const low = Math.floor(timestep)
  const [a, b] = [training[low] as number, training[Math.min(low + 1, training.length - 1)] as number]
  return a + (timestep - low) * (b - a)
}

/**
 * The fractional timesteps of the given noise levels, by linear interpolation in log sigma. The logarithms of the
 * training levels are float32 in diffusers, so the highest level has timestep 998.99998.
 */
export function sigmaToTimestep(sigmas: Float64Array, training: Float64Array): Float64Array {
  const log = training.map((sigma) => Math.fround(Math.log(sigma)))
  return sigmas.map((sigma) => {
    const target = Math.log(Math.max(sigma, 1e-10))
    let low = log.findLastIndex((value) => value <= target)
    low = Math.min(Math.max(low, 0), log.length - 2)
    const [a, b] = [log[low] as number, log[low + 1] as number]
    const part = Math.min(Math.max((a - target) / Math.fround(a - b), 0), 1)
    return (1 - part) * low + part * (low + 1)
  })
}
