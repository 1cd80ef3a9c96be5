/**
 * Errors of a matte against the true one, as matting benchmarks give them (Rhemann et al., "A Perceptually Motivated Online
 * Benchmark for Image Matting", 2009), with alpha in 0..1.
 */
export interface MatteErrors {
  /** Sum of absolute differences, in thousands of pixels. */
  readonly sad: number
  /** Mean squared difference, in thousandths. */
  readonly mse: number
  /** Sum of squared differences of the slopes (derivatives of a Gaussian of 1.4 pixels). */
  readonly gradient: number
  /** Of background more than two pixels from the product, how much was found to be product: percent of the product's area. */
  readonly left: number
  /** Of the product's area, percent that was not found. */
  readonly lost: number
}

export function errorsOf(found: Uint8Array, truth: Uint8Array, width: number, height: number): MatteErrors {
  const [a, b] = [found, truth].map((alpha) => Float32Array.from(alpha, (value) => value / 255)) as [
    Float32Array,
    Float32Array,
  ]
  const close = near(truth, width, height, 2)
  let [sad, squares, left, lost, area] = [0, 0, 0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! - b[i]!
    sad += Math.abs(difference)
    squares += difference ** 2
    area += b[i]!
    if (close[i] === 0) left += a[i]!
    if (difference < 0) lost -= difference
  }
  const [ga, gb] = [slopes(a, width, height), slopes(b, width, height)]
  const gradient = ga.reduce((sum, value, i) => sum + (value - gb[i]!) ** 2, 0)
  return {
    sad: sad / 1000,
    mse: (1000 * squares) / a.length,
    gradient,
    left: (100 * left) / Math.max(area, 1),
    lost: (100 * lost) / Math.max(area, 1),
  }
}

/** 1 where a pixel of the product is at most so far away, in a square. */
function near(alpha: Uint8Array, width: number, height: number, reach: number): Uint8Array {
  const out = new Uint8Array(alpha.length)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (alpha[y * width + x] === 0) continue
      for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
        out.fill(1, v * width + Math.max(0, x - reach), v * width + Math.min(width - 1, x + reach) + 1)
      }
    }
  }
  return out
}

const sigma = 1.4
const reach = Math.ceil(3 * sigma)

/** The size of the gradient at each pixel. */
function slopes(values: Float32Array, width: number, height: number): Float32Array {
  const at = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach)
  const bell = at.map((x) => Math.exp(-(x * x) / (2 * sigma * sigma)))
  const total = bell.reduce((sum, value) => sum + value, 0)
  const smooth = bell.map((value) => value / total)
  const steep = at.map((x, i) => (x / (sigma * sigma)) * smooth[i]!)
  const across = along(along(values, steep, width, height, 1), smooth, width, height, width)
  const down = along(along(values, smooth, width, height, 1), steep, width, height, width)
  return across.map((value, i) => Math.hypot(value, down[i]!))
}

/** Filters rows (step 1) or columns (step = width); beyond the border the last value counts. */
function along(
  values: Float32Array,
  kernel: readonly number[],
  width: number,
  height: number,
  step: number,
): Float32Array {
  const out = new Float32Array(values.length)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [place, last] = step === 1 ? [x, width - 1] : [y, height - 1]
      let sum = 0
      for (let k = -reach; k <= reach; k++) {
        const shift = Math.min(Math.max(place + k, 0), last) - place
        sum += kernel[k + reach]! * values[y * width + x + shift * step]!
      }
      out[y * width + x] = sum
    }
  }
  return out
}
