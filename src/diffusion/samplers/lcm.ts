import { addNoisePreserving, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

const timestepScaling = 10
const sigmaData = 0.5

/**
 * Multistep sampling of a Latent Consistency Model, https://arxiv.org/abs/2310.04378 algorithm 3, as in diffusers'
 * LCMScheduler. Every step but the last adds fresh noise.
 */
export interface LcmOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  /** Fresh unit noise of the sample's size. */
  readonly noise: () => Float32Array
}

/** @param timesteps falling integers */
export function lcm(timesteps: Float64Array, { prediction: kind, alphas, noise }: LcmOptions): Sampler {
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
      if (index === timesteps.length - 1) return denoised
      const next = alphas[timesteps[index + 1] as number] as number
      return addNoisePreserving(denoised, noise(), Math.sqrt(next), Math.sqrt(1 - next))
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}
