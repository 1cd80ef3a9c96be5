import { addNoiseExploding, alphaOf, denoiseExploding, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import type { ScaledLevels } from './schedules.ts'

/**
 * Euler's method, https://arxiv.org/abs/2206.00364 algorithm 2 without churn, as in diffusers' EulerDiscreteScheduler.
 * With `noise` given, ancestral sampling (k-diffusion's sample_euler_ancestral with eta 1), as in diffusers'
 * EulerAncestralDiscreteScheduler: a step goes below the next level and comes back up with fresh noise, which is
 * drawn in the last step too, although none of it is added.
 */
export interface EulerOptions {
  readonly prediction: Prediction
  /** Fresh unit noise of the sample's size, for the ancestral variant. */
  readonly noise?: () => Float32Array
}

export function euler(levels: ScaledLevels, { prediction: kind, noise }: EulerOptions): Sampler {
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, 0], Math.fround)
  return {
    timesteps: levels.timesteps,
    initialScale: levels.initialScale,
    scaleInput: (index) => alphaOf(sigmas[index] as number),
    step(prediction, index, sample) {
      const [sigma, next] = [sigmas[index] as number, sigmas[index + 1] as number]
      const denoised = denoiseExploding(kind, prediction, sample, sigma)
      const fresh = noise?.()
      const up = fresh ? (next * Math.sqrt((sigma - next) * (sigma + next))) / sigma : 0
      // next^2 - up^2 = (next^2 / sigma)^2
      const down = fresh ? (next * next) / sigma : next
      const part = down / sigma
      const out = new Float32Array(sample.length)
      for (let i = 0; i < out.length; i++) out[i] = denoised[i]! + part * (sample[i]! - denoised[i]!)
      if (fresh) for (let i = 0; i < out.length; i++) out[i]! += up * fresh[i]!
      return out
    },
    addNoise: (clean, noise, index) => addNoiseExploding(clean, noise, sigmas[index] as number),
  }
}
