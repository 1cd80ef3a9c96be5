import { addNoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * Pseudo linear multistep sampling, https://arxiv.org/abs/2202.09778 formulas 9, 12 and 13, as diffusers'
 * PNDMScheduler with `skip_prk_steps` (what SD 1.x configs say, A1111's PLMS): the second step is taken twice, first
 * alone and then by the mean of two predictions, so there is one call more than steps.
 *
 * Image-to-image counts calls from where it begins and treats the second call as the repeated one, although it is not
 * when the beginning is skipped. diffusers does the same, and its pictures depend on it.
 */
export interface PndmOptions {
  readonly prediction: Prediction
  /** Share of the clean sample's variance at every training timestep, falling. */
  readonly alphas: Float64Array
  readonly steps: number
  /** The share after the last step: that of the first training timestep in SD 1.x, or 1. */
  readonly finalAlpha: number
  /** Index of the first call. */
  readonly begin: number
}

/** @param spaced one timestep a step, falling */
export function pndm(spaced: Float64Array, options: PndmOptions): Sampler {
  const { alphas, steps, begin } = options
  const stride = Math.floor(alphas.length / steps)
  const timesteps = Float64Array.of(...spaced.subarray(0, 2), ...spaced.subarray(1))
  /** Predictions, the latest first. */
  let history: Float32Array[] = []
  let start: Float32Array = new Float32Array()

  return {
    timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const call = index - begin
      const timestep = timesteps[index] as number
      if (call === 1) {
        const first = history[0] as Float32Array
        const both = prediction.map((value, i) => (value + first[i]!) / 2)
        return transfer(start, timestep + stride, timestep, both, options)
      }
      history = [prediction, ...history].slice(0, 4)
      start = sample
      return transfer(sample, timestep, timestep - stride, multistep(history), options)
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
}

/** From one training timestep to another by a prediction, formula 9; below 0 is the end. */
export function transfer(
  sample: Float32Array,
  from: number,
  to: number,
  prediction: ArrayLike<number>,
  { prediction: kind, alphas, finalAlpha }: Pick<PndmOptions, 'prediction' | 'alphas' | 'finalAlpha'>,
): Float32Array {
  const a = alphas[from] as number
  const b = to >= 0 ? (alphas[to] as number) : finalAlpha
  const keep = Math.sqrt(b / a)
  const take = (b - a) / (a * Math.sqrt(1 - b) + Math.sqrt(a * (1 - a) * b))
  const [alpha, spread] = kind === 'epsilon' ? [1, 0] : [Math.sqrt(a), Math.sqrt(1 - a)]
  return sample.map((value, i) => keep * value - take * (alpha * prediction[i]! + spread * value))
}

/** Adams-Bashforth coefficients by the number of predictions. */
const adamsBashforth = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
]

function multistep(history: readonly Float32Array[]): Float64Array {
  const coefficients = adamsBashforth[history.length - 1] as number[]
  const out = new Float64Array((history[0] as Float32Array).length)
  for (const [back, prediction] of history.entries()) {
    const coefficient = coefficients[back] as number
    for (let i = 0; i < out.length; i++) out[i]! += coefficient * prediction[i]!
  }
  return out
}
