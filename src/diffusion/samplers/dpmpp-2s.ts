import { addNoisePreserving, alphaOf, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import type { Levels } from './schedules.ts'

/**
 * DPM-Solver++(2S), https://arxiv.org/abs/2211.01095 algorithm 1, as in diffusers' DPMSolverSinglestepScheduler with
 * `solver_order=2` and `solver_type="midpoint"`: steps come in pairs, and the second of a pair repeats the whole way
 * from the start of the first, using both predictions. Arithmetic in float64.
 */
export interface Dpmpp2sOptions {
  readonly prediction: Prediction
  /** The noise level after the last step: 0, or that of the first training timestep. */
  readonly finalSigma: number
  /** First order in the last step, or in the last two of an even number of steps; required for a final level of 0. */
  readonly lowerOrderFinal: boolean
}

export function dpmpp2s(levels: Levels, options: Dpmpp2sOptions): Sampler {
  const { prediction: kind, finalSigma, lowerOrderFinal } = options
  const steps = levels.sigmas.length
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, finalSigma], Math.fround)
  const isSecond = (index: number) => index % 2 === 1 && !(lowerOrderFinal && index === steps - 1)
  /** The sample at the start of the pair, and the denoised sample predicted there. */
  let first: { readonly sample: Float32Array; readonly denoised: Float64Array } | undefined

  return {
    timesteps: levels.timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const sigma = sigmas[index] as number
      const denoised = denoisePreserving(kind, prediction, sample, alphaOf(sigma), sigma * alphaOf(sigma))
      // a run that begins in the middle of a pair skipped the first step of it
      const begun = isSecond(index) ? first : undefined
      first = { sample, denoised }
      if (begun === undefined) return move(sample, sigma, sigmas[index + 1] as number, denoised)
      const [from, next] = [sigmas[index - 1] as number, sigmas[index + 1] as number]
      const r = (Math.log(from) - Math.log(sigma)) / (Math.log(from) - Math.log(next))
      const lean = 1 / (2 * r)
      const mixed = denoised.map((value, i) => begun.denoised[i]! + lean * (value - begun.denoised[i]!))
      return move(begun.sample, from, next, mixed)
    },
    addNoise(clean, noise, index) {
      const sigma = sigmas[index] as number
      return addNoisePreserving(clean, noise, alphaOf(sigma), sigma * alphaOf(sigma))
    },
  }
}

/** From one level to the next, treating the denoised sample as constant between them. */
function move(sample: Float32Array, sigma: number, next: number, denoised: Float64Array): Float32Array {
  const keep = (next * alphaOf(next)) / (sigma * alphaOf(sigma))
  const gone = -alphaOf(next) * Math.expm1(Math.log(next) - Math.log(sigma))
  return sample.map((value, i) => keep * value + gone * denoised[i]!)
}
