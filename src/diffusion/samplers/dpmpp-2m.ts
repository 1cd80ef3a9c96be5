import { addNoisePreserving, alphaOf, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import type { Levels } from './schedules.ts'

/**
 * DPM-Solver++(2M), https://arxiv.org/abs/2211.01095 algorithm 2, as in diffusers' DPMSolverMultistepScheduler
 * with `solver_type="midpoint"`: `algorithm_type="dpmsolver++"`, or with `noise` given `"sde-dpmsolver++"`, which adds
 * fresh noise in every step. Arithmetic in float64.
 *
 * In the variance-preserving form of a noise level sigma: alpha = 1 / sqrt(sigma^2 + 1), noise part
 * sigma * alpha, lambda = -ln sigma. A run that begins in the middle also takes its first step in first order.
 */
export interface Dpmpp2mOptions {
  readonly prediction: Prediction
  /** The noise level after the last step: 0, or that of the first training timestep. */
  readonly finalSigma: number
  /** First order in the last step even if its level is not zero; diffusers does so below 15 steps. */
  readonly lowerOrderFinal: boolean
  /** Fresh unit noise of the sample's size, for the stochastic variant. */
  readonly noise?: () => Float32Array
}

const fewSteps = 15

export function dpmpp2m(levels: Levels, options: Dpmpp2mOptions): Sampler {
  const steps = levels.sigmas.length
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, options.finalSigma], Math.fround)
  const firstOrderLast = options.finalSigma === 0 || (options.lowerOrderFinal && steps < fewSteps)
  let previous: Float64Array | undefined

  return {
    timesteps: levels.timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const [sigma, next] = [sigmas[index] as number, sigmas[index + 1] as number]
      const alpha = alphaOf(sigma)
      const denoised = denoisePreserving(options.prediction, prediction, sample, alpha, sigma * alpha)
      const h = Math.log(sigma) - Math.log(next)
      const noise = options.noise?.()
      // a stochastic step goes down twice as far and comes back up with the added noise
      const gone = -Math.expm1(noise ? -2 * h : -h)
      const shrink = alphaOf(next) * gone
      const keep = ((next * alphaOf(next)) / (sigma * alpha)) * (noise ? Math.exp(-h) : 1)
      const spread = next * alphaOf(next) * Math.sqrt(gone)
      const out = new Float32Array(sample.length)
      if (!previous || (firstOrderLast && index === steps - 1)) {
        for (let i = 0; i < out.length; i++) out[i] = keep * sample[i]! + shrink * denoised[i]!
      } else {
        const r = (Math.log(sigmas[index - 1] as number) - Math.log(sigma)) / h
        const extrapolate = 1 / (2 * r)
        for (let i = 0; i < out.length; i++) {
          const d = denoised[i]! + extrapolate * (denoised[i]! - previous[i]!)
          out[i] = keep * sample[i]! + shrink * d
        }
      }
      if (noise) for (let i = 0; i < out.length; i++) out[i]! += spread * noise[i]!
      previous = denoised
      return out
    },
    addNoise(clean, noise, index) {
      const sigma = sigmas[index] as number
      return addNoisePreserving(clean, noise, alphaOf(sigma), sigma * alphaOf(sigma))
    },
  }
}
