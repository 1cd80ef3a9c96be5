import { type SamplerName, type Schedule, samplerEntry } from './catalog.ts'
import { ddim } from './ddim.ts'
import { dpmpp2m } from './dpmpp-2m.ts'
import { dpmpp2s } from './dpmpp-2s.ts'
import { dpmppSde } from './dpmpp-sde.ts'
import { euler } from './euler.ts'
import { heun } from './heun.ts'
import { lcm } from './lcm.ts'
import { lms } from './lms.ts'
import { finiteAlphas, type NoiseConfig, trainingAlphas, trainingSigmas } from './noise-levels.ts'
import { pndm } from './pndm.ts'
import type { Sampler } from './sampler.ts'
import { levelsAt, spaceDistilled, spaceLevels, spaceScaledLevels, spaceTimesteps } from './schedules.ts'
import { tcd } from './tcd.ts'
import { unipc } from './unipc.ts'

export interface SamplerRequest {
  readonly sampler: SamplerName
  /** Must be one that the sampler offers, see catalog.ts. */
  readonly schedule: Schedule
  readonly steps: number
  readonly noise: NoiseConfig
  /** Index of the first model call: `beginIndex` for image-to-image. */
  readonly begin?: number
  /** Absent: the sampler's default. */
  readonly eta?: number | undefined
  /** In place of those of the schedule: as many as there are steps, falling integers. */
  readonly timesteps?: readonly number[] | undefined
}

/**
 * A sampler for one picture, equal to the one that diffusers creates from the config of SD 1.x.
 * @param randn fresh unit noise of the sample's size. Called in the order in which diffusers' pipeline draws from its
 * generator, so using one generator for the initial noise and for this gives the same picture.
 * @throws RangeError for a schedule that the sampler does not offer, too many steps, or an
 * eta or timesteps that it does not take
 */
export function createSampler(request: SamplerRequest, randn: () => Float32Array): Sampler {
  const { sampler, schedule, steps, noise, begin = 0 } = request
  const { schedules, maximumSteps = Number.POSITIVE_INFINITY, defaultEta } = samplerEntry(sampler)
  if (!schedules.includes(schedule)) {
    throw new RangeError(
      `${sampler} does not offer the schedule ${schedule}; it offers ${schedules.join(', ')}`,
    )
  }
  if (!(steps >= 1 && steps <= maximumSteps)) {
    throw new RangeError(`${sampler} takes 1 to ${maximumSteps} steps, but ${steps} were requested`)
  }
  const eta = request.eta ?? defaultEta ?? 0
  if (!(eta >= 0 && eta <= 1) || (eta > 0 && defaultEta === undefined)) {
    throw new RangeError(`${sampler} takes ${defaultEta === undefined ? 'no eta' : 'an eta from 0 to 1'}`)
  }
  const given = request.timesteps === undefined ? undefined : givenTimesteps(request, request.timesteps)
  const prediction = noise.prediction_type
  // a prediction of noise says nothing where there is nothing else; PNDM's formula divides by the share
  const exact = prediction === 'v_prediction' && sampler !== 'pndm'
  const alphas = exact ? trainingAlphas(noise) : finiteAlphas(noise)
  const training = trainingSigmas(noise)
  const solver = () => (given ? levelsAt(given, training) : spaceLevels(schedule, training, steps))
  const scaled = () =>
    given
      ? levelsAt(given, training)
      : spaceScaledLevels(schedule as Exclude<Schedule, 'lu'>, training, steps)
  const spaced = () => spaceTimesteps(schedule as 'normal' | 'leading' | 'sgm_uniform', alphas.length, steps)
  const distilled = () => given ?? spaceDistilled(alphas.length, steps)
  const finalAlpha = alphas[0] as number
  const last = { finalSigma: 0, lowerOrderFinal: true }

  switch (sampler) {
    case 'dpmpp_2m':
      return dpmpp2m(solver(), { prediction, ...last })
    case 'dpmpp_2m_sde':
      return dpmpp2m(solver(), { prediction, ...last, noise: randn })
    case 'dpmpp_2s':
      return dpmpp2s(solver(), { prediction, ...last })
    case 'dpmpp_sde':
      return dpmppSde(scaled(), { prediction, training, noise: randn })
    case 'euler':
      return euler(scaled(), { prediction })
    case 'euler_ancestral':
      return euler(scaled(), { prediction, noise: randn })
    case 'heun':
      return heun(scaled(), prediction)
    case 'ddim':
      return ddim(spaced(), { prediction, alphas, steps, finalAlpha, eta, noise: randn })
    case 'pndm':
      return pndm(spaced(), { prediction, alphas, steps, finalAlpha, begin })
    case 'lms':
      return lms(scaled(), prediction)
    case 'unipc':
      return unipc(solver(), { prediction, finalSigma: 0 })
    case 'lcm':
      return lcm(distilled(), { prediction, alphas, noise: randn })
    case 'tcd':
      return tcd(distilled(), { prediction, alphas, eta, noise: randn })
  }
}

/** @throws RangeError if the sampler cannot use them */
function givenTimesteps({ sampler, steps, noise }: SamplerRequest, given: readonly number[]): Float64Array {
  if (!samplerEntry(sampler).takesTimesteps) throw new RangeError(`${sampler} does not take timesteps`)
  const count = noise.num_train_timesteps
  const falling = given.every(
    (t, i) => Number.isInteger(t) && t >= 0 && t < count && (i === 0 || t < (given[i - 1] as number)),
  )
  if (!falling || given.length !== steps) {
    throw new RangeError(`timesteps must be ${steps} falling integers from ${count - 1} to 0`)
  }
  return Float64Array.from(given)
}

/**
 * Where image-to-image begins, as in diffusers' `get_timesteps`: `int(steps * strength)` steps remain.
 * @param strength above 0; 1 begins at the start
 * @returns index of the first call
 * @throws RangeError if the strength is out of range, or leaves no step
 */
export function beginIndex(sampler: SamplerName, steps: number, strength: number): number {
  if (!(strength > 0 && strength <= 1)) {
    throw new RangeError(`strength must be above 0 and at most 1, but is ${strength}`)
  }
  const left = Math.min(Math.trunc(steps * strength), steps)
  if (left < 1) {
    throw new RangeError(
      `strength ${strength} leaves none of ${steps} steps: strength times steps must be at least 1`,
    )
  }
  return (steps - left) * (samplerEntry(sampler).callsPerStep ?? 1)
}
