/** A weight in eight bits, as the right-hand side of a product. */
export interface EightBits {
  /** [pixels * channels, out], -127 to 127 */
  readonly values: Int8Array
  /** What each column is multiplied by. */
  readonly scales: Float32Array
  /** The root of the squared differences' sum over that of the squared weights: 0 to 1. */
  readonly error: number
}

/** Columns that are written together: their reads are of as many places. */
const block = 64

/** A smaller one would be lost beside anything else, and its reciprocal is no float32. */
const smallest = 1e-30

/**
 * One symmetric scale for each output, from its largest weight. Outputs whose weights are all 0 stay 0.
 * @param weights [out, channels, pixels], as torch stores layers @returns undefined if a number is infinite or NaN
 */
export function quantizeColumns(
  weights: Float32Array,
  [out, channels, pixels]: readonly [number, number, number],
): EightBits | undefined {
  const inner = channels * pixels
  const values = new Int8Array(weights.length)
  const scales = new Float32Array(out).fill(1)
  const inverse = new Float64Array(out)
  let squares = 0
  for (let row = 0; row < out; row++) {
    let largest = 0
    let sum = 0
    for (let at = row * inner; at < (row + 1) * inner; at++) {
      const weight = weights[at]!
      largest = Math.max(largest, Math.abs(weight))
      sum += weight * weight
    }
    if (!Number.isFinite(sum)) return undefined
    squares += sum
    if (largest < smallest) continue
    scales[row] = largest / 127
    inverse[row] = 127 / largest
  }
  let differences = 0
  for (let first = 0; first < out; first += block) {
    const end = Math.min(out, first + block)
    for (let channel = 0; channel < channels; channel++) {
      for (let pixel = 0; pixel < pixels; pixel++) {
        const to = (pixel * channels + channel) * out
        const from = channel * pixels + pixel
        for (let row = first; row < end; row++) {
          const weight = weights[row * inner + from]!
          const value = Math.round(weight * inverse[row]!)
          values[to + row] = value
          const difference = weight - value * scales[row]!
          differences += difference * difference
        }
      }
    }
  }
  return { values, scales, error: squares === 0 ? 0 : Math.sqrt(differences / squares) }
}
