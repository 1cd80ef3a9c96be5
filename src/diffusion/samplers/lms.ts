import { addNoiseExploding, alphaOf, denoiseExploding, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import type { ScaledLevels } from './schedules.ts'

const mostOrders = 4
/** Two-point Gauss-Legendre is exact for polynomials up to the third degree, which order 4 has. */
const gaussPoint = 1 / Math.sqrt(3)

/**
 * The linear multistep method of fourth order in sigma (k-diffusion's sample_lms), as in diffusers'
 * LMSDiscreteScheduler. As there, a run that begins in the middle uses full-order coefficients at once, for the few
 * slopes that it has.
 */
export function lms(levels: ScaledLevels, kind: Prediction): Sampler {
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, 0], Math.fround)
  /** The latest first. */
  let slopes: Float64Array[] = []

  return {
    timesteps: levels.timesteps,
    initialScale: levels.initialScale,
    scaleInput: (index) => alphaOf(sigmas[index] as number),
    step(prediction, index, sample) {
      const sigma = sigmas[index] as number
      const denoised = denoiseExploding(kind, prediction, sample, sigma)
      slopes = [denoised.map((clean, i) => (sample[i]! - clean) / sigma), ...slopes].slice(0, mostOrders)
      const order = Math.min(index + 1, mostOrders)
      const out = Float64Array.from(sample)
      for (const [back, slope] of slopes.entries()) {
        const coefficient = lagrangeIntegral(sigmas, index, order, back)
        for (let i = 0; i < out.length; i++) out[i]! += coefficient * slope[i]!
      }
      return Float32Array.from(out)
    },
    addNoise: (clean, noise, index) => addNoiseExploding(clean, noise, sigmas[index] as number),
  }
}

/** The integral over the step of the polynomial that is 1 at the level `back` steps ago and 0 at the others. */
function lagrangeIntegral(sigmas: Float64Array, index: number, order: number, back: number): number {
  const [from, to] = [sigmas[index] as number, sigmas[index + 1] as number]
  const at = sigmas[index - back] as number
  const half = (to - from) / 2
  let sum = 0
  for (const side of [-gaussPoint, gaussPoint]) {
    let value = half
    for (let k = 0; k < order; k++) {
      const other = sigmas[index - k] as number
      if (k !== back) value *= (from + half + side * half - other) / (at - other)
    }
    sum += value
  }
  return sum
}
