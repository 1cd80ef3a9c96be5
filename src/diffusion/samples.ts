/** What is done to samples between the calls of the model. */

/** Classifier-free guidance, https://arxiv.org/abs/2207.12598: the first half is without the prompt. */
export function guide(prediction: Float32Array, scale: number): Float32Array {
  const half = prediction.length / 2
  const out = new Float32Array(half)
  for (let i = 0; i < half; i++) {
    const without = prediction[i]!
    out[i] = without + scale * (prediction[half + i]! - without)
  }
  return out
}

/** The sample times a factor. */
export function scaled(sample: Float32Array, factor: number): Float32Array {
  return factor === 1 ? sample : sample.map((value) => value * factor)
}

/** The sample's channels and behind them others, of one picture. */
export function withExtra(sample: Float32Array, extra: Float32Array): Float32Array {
  if (extra.length === 0) return sample
  const out = new Float32Array(sample.length + extra.length)
  out.set(sample)
  out.set(extra, sample.length)
  return out
}
