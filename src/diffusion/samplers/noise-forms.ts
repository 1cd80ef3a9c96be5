import type { NoiseConfig } from './noise-levels.ts'

/**
 * The two ways to write a noisy sample: variance-"exploding" as clean + sigma noise (k-diffusion's samplers), and
 * variance-"preserving" as alpha clean + spread noise with alpha^2 + spread^2 = 1 (all others, and the model's
 * training). Samples are float32; the `denoise...` functions return float64.
 */
export type Prediction = NoiseConfig['prediction_type']

/** Coefficient of the clean sample in the preserving form of a level; that of the noise is `sigma` times as large. */
export function alphaOf(sigma: number): number {
  return 1 / Math.sqrt(sigma * sigma + 1)
}

/** The clean sample that a prediction implies, exploding form. */
export function denoiseExploding(
  kind: Prediction,
  prediction: Float32Array,
  sample: Float32Array,
  sigma: number,
): Float64Array {
  const [keep, take] =
    kind === 'epsilon' ? [1, sigma] : [1 / (sigma * sigma + 1), sigma / Math.sqrt(sigma * sigma + 1)]
  return combine(sample, keep, prediction, -take)
}

/** The clean sample that a prediction implies, preserving form. */
export function denoisePreserving(
  kind: Prediction,
  prediction: Float32Array,
  sample: Float32Array,
  alpha: number,
  spread: number,
): Float64Array {
  if (kind === 'v_prediction') return combine(sample, alpha, prediction, -spread)
  return combine(sample, 1 / alpha, prediction, -spread / alpha)
}

/** The noise that a prediction implies, preserving form. */
export function noisePreserving(
  kind: Prediction,
  prediction: Float32Array,
  sample: Float32Array,
  alpha: number,
  spread: number,
): ArrayLike<number> {
  return kind === 'epsilon' ? prediction : combine(prediction, alpha, sample, spread)
}

/** Unit noise added to a clean sample, exploding form. */
export function addNoiseExploding(clean: Float32Array, noise: Float32Array, sigma: number): Float32Array {
  return Float32Array.from(combine(clean, 1, noise, sigma))
}

/** Unit noise added to a clean sample, preserving form. */
export function addNoisePreserving(
  clean: Float32Array,
  noise: Float32Array,
  alpha: number,
  spread: number,
): Float32Array {
  return Float32Array.from(combine(clean, alpha, noise, spread))
}

/** a x + b y */
function combine(x: Float32Array, a: number, y: Float32Array, b: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let i = 0; i < out.length; i++) out[i] = a * x[i]! + b * y[i]!
  return out
}
