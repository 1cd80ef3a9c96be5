import { addNoisePreserving, denoisePreserving, noisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * DDIM, https://arxiv.org/abs/2010.02502 formula 12, as in diffusers' DDIMScheduler. A step goes down by the number of
 * training timesteps divided by the number of steps, whatever the next timestep is.
 */
export interface DdimOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  readonly steps: number
  /** The share after the last step: that of the first training timestep in SD 1.x, or 1. */
  readonly finalAlpha: number
  /** How much fresh noise takes the place of what is left, 0 to 1 (which is DDPM); absent: none. */
  readonly eta?: number
  /** Fresh unit noise of the sample's size, drawn in every step if eta is above 0. */
  readonly noise?: () => Float32Array
}

export function ddim(timesteps: Float64Array, options: DdimOptions): Sampler {
  const { alphas, steps, finalAlpha, prediction: kind, eta = 0, noise } = options
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
      // formula 16: what of the next level's noise is fresh
      const fresh = eta * Math.sqrt(((1 - next) / (1 - abar)) * (1 - abar / next))
      const [nextAlpha, nextSpread] = [Math.sqrt(next), Math.sqrt(1 - next - fresh * fresh)]
      const denoised = denoisePreserving(kind, prediction, sample, alpha, spread)
      const remaining = noisePreserving(kind, prediction, sample, alpha, spread)
      const out = Float32Array.from(denoised, (value, i) => nextAlpha * value + nextSpread * remaining[i]!)
      if (eta === 0 || noise === undefined) return out
      const drawn = noise()
      return out.map((value, i) => value + fresh * drawn[i]!)
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}
