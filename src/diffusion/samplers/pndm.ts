import { addNoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * Pseudo linear multistep sampling, https://arxiv.org/abs/2202.09778 formulas 9, 12 and 13, as in diffusers'
 * PNDMScheduler: with `skip_prk_steps` (set in SD 1.x configs; A1111's PLMS) the second step is taken twice, first
 * with one prediction and then with the mean of two, so there is one call more than steps; without it, the first three
 * steps take four calls each by the Runge-Kutta method.
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
  readonly rungeKutta?: boolean
}

const rungeKuttaSteps = 3
/** Weights of the four predictions of a Runge-Kutta step. */
const rungeKuttaWeights = [1 / 6, 1 / 3, 1 / 3, 1 / 6]

/** @param spaced one timestep per step, falling */
export function pndm(spaced: Float64Array, options: PndmOptions): Sampler {
  const { prediction: kind, alphas, steps, finalAlpha, begin } = options
  const stride = Math.floor(alphas.length / steps)
  const warmUp = options.rungeKutta ? rungeKuttaTimesteps(spaced, stride) : undefined
  const timesteps = warmUp
    ? Float64Array.of(...warmUp, ...spaced.subarray(rungeKuttaSteps))
    : Float64Array.of(...spaced.subarray(0, 2), ...spaced.subarray(1))
  /** Predictions, the latest first. */
  let history: Float32Array[] = []
  let mean: Float64Array = new Float64Array()
  let start: Float32Array = new Float32Array()

  function move(sample: Float32Array, from: number, to: number, prediction: ArrayLike<number>): Float32Array {
    const a = alphas[from] as number
    const b = to >= 0 ? (alphas[to] as number) : finalAlpha
    const keep = Math.sqrt(b / a)
    const take = (b - a) / (a * Math.sqrt(1 - b) + Math.sqrt(a * (1 - a) * b))
    const [alpha, spread] = kind === 'epsilon' ? [1, 0] : [Math.sqrt(a), Math.sqrt(1 - a)]
    return sample.map((value, i) => keep * value - take * (alpha * prediction[i]! + spread * value))
  }

  function rungeKuttaCall(prediction: Float32Array, call: number, sample: Float32Array): Float32Array {
    const quarter = call % 4
    const weight = rungeKuttaWeights[quarter] as number
    if (quarter === 0) {
      history = [prediction, ...history]
      start = sample
      mean = new Float64Array(sample.length)
    }
    mean = mean.map((value, i) => value + weight * prediction[i]!)
    const from = timesteps[call - quarter] as number
    const back = call % 2 === 1 ? 0 : Math.floor(stride / 2)
    return move(start, from, (timesteps[call] as number) - back, quarter === 3 ? mean : prediction)
  }

  return {
    timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const call = index - begin
      if (warmUp && call < warmUp.length) return rungeKuttaCall(prediction, call, sample)
      const timestep = timesteps[index] as number
      if (call === 1 && !warmUp) {
        const first = history[0] as Float32Array
        const both = prediction.map((value, i) => (value + first[i]!) / 2)
        return move(start, timestep + stride, timestep, both)
      }
      history = [prediction, ...history].slice(0, 4)
      start = sample
      return move(sample, timestep, timestep - stride, multistep(history))
    },
    addNoise(clean, noise, index) {
      const abar = alphas[timesteps[index] as number] as number
      return addNoisePreserving(clean, noise, Math.sqrt(abar), Math.sqrt(1 - abar))
    },
  }
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

/** For every step of the warm-up: its timestep, the middle twice, and the next step's timestep. */
function rungeKuttaTimesteps(spaced: Float64Array, stride: number): Float64Array {
  const half = Math.floor(stride / 2)
  return Float64Array.from({ length: 4 * rungeKuttaSteps }, (_, call) => {
    const [step, quarter] = [call >> 2, call % 4]
    const next = spaced[step + 1] as number
    return quarter === 0 ? (spaced[step] as number) : quarter === 3 ? next : next + half
  })
}
