import { addNoisePreserving, denoisePreserving, noisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * Strategic stochastic sampling of a model distilled by Trajectory Consistency Distillation,
 * https://arxiv.org/abs/2402.19159 algorithm 4, as in diffusers' TCDScheduler: each step goes from its timestep down to
 * s = floor((1 - eta) * next) and, with fresh noise, back up to the next timestep. The last step goes to timestep 0.
 */
export interface TcdOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  /** "gamma" in the paper, 0 to 1: 0 adds no noise, 1 goes down to the clean sample in every step. */
  readonly eta: number
  /** Fresh unit noise of the sample's size; not drawn in the last step, nor with an eta of 0. */
  readonly noise: () => Float32Array
}

/** @param timesteps falling integers */
export function tcd(timesteps: Float64Array, { prediction: kind, alphas, eta, noise }: TcdOptions): Sampler {
  const shareAt = (timestep: number) => alphas[timestep] as number
  return {
    timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const abar = shareAt(timesteps[index] as number)
      const next = timesteps[index + 1] ?? 0
      // torch multiplies in float32, whose rounding decides between two neighbours
      const low = shareAt(Math.floor(Math.fround(Math.fround(1 - eta) * next)))
      const [alpha, spread] = [Math.sqrt(abar), Math.sqrt(1 - abar)]
      const clean = denoisePreserving(kind, prediction, sample, alpha, spread)
      const remaining = noisePreserving(kind, prediction, sample, alpha, spread)
      const [keep, take] = [Math.sqrt(low), Math.sqrt(1 - low)]
      const lowered = Float32Array.from(clean, (value, i) => keep * value + take * remaining[i]!)
      if (eta === 0 || index === timesteps.length - 1) return lowered
      const ratio = shareAt(next) / low
      return addNoisePreserving(lowered, noise(), Math.sqrt(ratio), Math.sqrt(1 - ratio))
    },
    addNoise(clean, noise, index) {
      const abar = shareAt(timesteps[index] as number)
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}
