import { addNoisePreserving, alphaOf, denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import type { Levels } from './schedules.ts'

/**
 * UniPC of second order with B(h) = e^h - 1, https://arxiv.org/abs/2302.04867 algorithms 1 and 2, as in diffusers'
 * UniPCMultistepScheduler with `solver_order=2`, `solver_type="bh2"` and `predict_x0=True`. Every prediction first
 * corrects the sample it was made for, then predicts the next; the last step is first order.
 */
export interface UnipcOptions {
  readonly prediction: Prediction
  /** The noise level after the last step: 0, or that of the first training timestep. */
  readonly finalSigma: number
}

const solverOrder = 2

export function unipc(levels: Levels, { prediction: kind, finalSigma }: UnipcOptions): Sampler {
  const steps = levels.sigmas.length
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, finalSigma], Math.fround)
  /** Denoised samples, the latest first. */
  let history: Float64Array[] = []
  let last: { readonly sample: Float64Array; readonly order: number } | undefined

  /**
   * From one level to a later one.
   * @param weights of the differences to the denoised sample at `from`: of the one before it, and of `after`
   */
  function move(
    sample: ArrayLike<number>,
    from: number,
    to: number,
    weights: readonly [number, number],
    after?: Float64Array,
  ): Float64Array {
    const [sigma, next] = [sigmas[from] as number, sigmas[to] as number]
    const [base, before] = history as [Float64Array, Float64Array | undefined]
    const keep = (next * alphaOf(next)) / (sigma * alphaOf(sigma))
    const gone = -alphaOf(next) * Math.expm1(Math.log(next) - Math.log(sigma))
    const [past, future] = weights
    return base.map((clean, i) => {
      const ahead = before && past !== 0 ? past * (before[i]! - clean) : 0
      return keep * sample[i]! + gone * (clean + ahead + (after ? future * (after[i]! - clean) : 0))
    })
  }

  return {
    timesteps: levels.timesteps,
    initialScale: 1,
    scaleInput: () => 1,
    step(prediction, index, sample) {
      const sigma = sigmas[index] as number
      const denoised = denoisePreserving(kind, prediction, sample, alphaOf(sigma), sigma * alphaOf(sigma))
      const corrected = last
        ? move(last.sample, index - 1, index, correctorWeights(sigmas, index, last.order), denoised)
        : Float64Array.from(sample)
      history = [denoised, ...history].slice(0, solverOrder)
      const order = Math.min(solverOrder, steps - index, history.length)
      last = { sample: corrected, order }
      const past = order === 2 ? 1 / (2 * ratio(sigmas, index)) : 0
      return Float32Array.from(move(corrected, index, index + 1, [past, 0]))
    },
    addNoise(clean, noise, index) {
      const sigma = sigmas[index] as number
      return addNoisePreserving(clean, noise, alphaOf(sigma), sigma * alphaOf(sigma))
    },
  }
}

/** Minus the step in lambda before `index`, divided by the one after it. */
function ratio(sigmas: Float64Array, index: number): number {
  const log = (at: number) => Math.log(sigmas[at] as number)
  return (log(index) - log(index - 1)) / (log(index) - log(index + 1))
}

/** The corrector's weights at `index` for the differences before and after its step. */
function correctorWeights(sigmas: Float64Array, index: number, order: number): [number, number] {
  if (order === 1) return [0, 1 / 2]
  const h = Math.log(sigmas[index] as number) - Math.log(sigmas[index - 1] as number)
  const b = Math.expm1(h)
  const phi2 = b / h - 1
  const phi3 = phi2 / h - 1 / 2
  const [b1, b2] = [phi2 / b, (2 * phi3) / b]
  const r = ratio(sigmas, index - 1)
  // rho0 + rho1 = b1, r rho0 + rho1 = b2
  const rho0 = (b1 - b2) / (1 - r)
  return [rho0 / r, b1 - rho0]
}
