/**
 * Applies the weights of a window to its text encoder states, as AUTOMATIC1111's emphasis "Original" does
 * (modules/sd_emphasis.py): each token's state times its weight, then all of them times the mean before over the mean
 * after. The means are over every number of the window, begin, end and padding included; each window of each prompt
 * has its own.
 *
 * @param states [tokens, width] of one window @param multipliers [tokens]
 * @returns [tokens, width]; `states` itself if every multiplier is 1
 */
export function weigh(states: Float32Array, multipliers: readonly number[]): Float32Array {
  if (multipliers.every((multiplier) => multiplier === 1)) return states
  const width = states.length / multipliers.length
  const weighted = states.map((value, index) => value * multipliers[Math.floor(index / width)]!)
  const restore = sum(states) / sum(weighted)
  return weighted.map((value) => value * restore)
}

/** In float64: the mean is small compared with the numbers averaged. */
function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0)
}
