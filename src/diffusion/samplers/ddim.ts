import { addNoisePreserving, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * DDIM, https://arxiv.org/abs/2010.02502 formula 12 with eta 0, as in diffusers' DDIMScheduler. A step goes down by
 * the number of training timesteps divided by the number of steps, whatever the next timestep is.
 */
export interface DdimOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  readonly steps: number
  /** The share after the last step: that of the first training timestep in SD 1.x, or 1. */
  readonly finalAlpha: number
}

export function ddim(timesteps: Float64Array, options: DdimOptions): Sampler {
  const { alphas, steps, finalAlpha, prediction: kind } = options
  const stride = Math.floor(alphas.length / steps)
  return {
    timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const timestep = timesteps[index] as number
      const abar = alphas[timestep] as number
      const next = timestep >= stride ? (alphas[timestep - stride] as number) : finalAlpha
      const [alpha, spread] = [Math.sqrt(abar), Math.sqrt(1 - abar)]
      const [nextAlpha, nextSpread] = [Math.sqrt(next), Math.sqrt(1 - next)]
      const denoised = denoisePreserving(kind, prediction, sample, alpha, spread)
      return sample.map((value, i) => {
        const noise = kind === 'epsilon' ? prediction[i]! : alpha * prediction[i]! + spread * value
        return nextAlpha * denoised[i]! + nextSpread * noise
      })
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}
