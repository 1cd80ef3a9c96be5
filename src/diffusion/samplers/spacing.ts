/**
 * numpy's arithmetic, operation by operation: its rounding decides whether a timestep is 499 or 500, which gives a
 * different picture.
 */

/** numpy.linspace with both ends. A single number is `from`. */
export function linspace(from: number, to: number, count: number): Float64Array {
  const step = (to - from) / (count - 1)
  const out = Float64Array.from({ length: count }, (_, i) => (i === 0 ? from : i * step + from))
  if (count > 1) out[count - 1] = to
  return out
}

/**
 * The first `count` numbers of numpy.arange(from, 0, -step). For 61 steps of 1000 and a few more, numpy returns
 * one number too many, whose timestep would be -1; it is left out.
 */
export function fallingRange(from: number, step: number, count: number): Float64Array {
  const delta = from - step - from
  return Float64Array.from({ length: count }, (_, i) => from + i * delta)
}

/** 166.5 becomes 166, where Math.round gives 167. */
export function roundHalfToEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}
