import { addNoisePreserving, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/** Number of steps of the schedule that Latent Consistency Models are distilled on. */
const distilledSteps = 50
const timestepScaling = 10
const sigmaData = 0.5

/**
 * Multistep sampling of a Latent Consistency Model, https://arxiv.org/abs/2310.04378 algorithm 3, as in diffusers'
 * LCMScheduler. Timesteps are evenly spaced among the 50 that the model was distilled on, starting at the highest.
 * Every step but the last adds fresh noise.
 */
export interface LcmOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  /** At most 50. */
  readonly steps: number
  /** Fresh unit noise of the sample's size. */
  readonly noise: () => Float32Array
}

/** @throws RangeError for more than 50 steps */
export function lcm({ prediction: kind, alphas, steps, noise }: LcmOptions): Sampler {
  if (steps > distilledSteps) {
    throw new RangeError(`lcm takes at most ${distilledSteps} steps, but ${steps} were requested`)
  }
  const stride = Math.floor(alphas.length / distilledSteps)
  const timesteps = Float64Array.from(
    { length: steps },
    (_, i) => (distilledSteps - Math.floor(i * (distilledSteps / steps))) * stride - 1,
  )

  return {
    timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const timestep = timesteps[index] as number
      const abar = alphas[timestep] as number
      const clean = denoisePreserving(kind, prediction, sample, Math.sqrt(abar), Math.sqrt(1 - abar))
      const scaled = timestep * timestepScaling
      const total = scaled * scaled + sigmaData * sigmaData
      const [skip, take] = [(sigmaData * sigmaData) / total, scaled / Math.sqrt(total)]
      const denoised = sample.map((value, i) => take * clean[i]! + skip * value)
      if (index === steps - 1) return denoised
      const next = alphas[timesteps[index + 1] as number] as number
      return addNoisePreserving(denoised, noise(), Math.sqrt(next), Math.sqrt(1 - next))
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}
