/**
 * Planes of numbers at another size: each new value is the mean of those that it covers, weighted by a triangle as wide as
 * the step (Pillow's and OpenCV's antialiased bilinear). Enlarged, that is bilinear.
 */
export interface Planes {
  readonly data: Float32Array
  readonly planes: number
  readonly width: number
  readonly height: number
}

export function resample(from: Planes, width: number, height: number): Planes {
  // the smaller direction first: fewer numbers in between
  const wide = resampleRows(from, width)
  return resampleColumns(wide, height)
}

interface Taps {
  readonly first: Int32Array
  readonly count: Int32Array
  readonly weights: Float32Array
  readonly most: number
}

function tapsOf(from: number, to: number): Taps {
  const step = from / to
  const reach = Math.max(step, 1)
  const most = Math.ceil(2 * reach) + 1
  const [first, count, weights] = [new Int32Array(to), new Int32Array(to), new Float32Array(to * most)]
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * step - 0.5
    const low = Math.max(0, Math.ceil(centre - reach))
    const high = Math.min(from - 1, Math.floor(centre + reach))
    let sum = 0
    for (let k = low; k <= high; k++) sum += 1 - Math.abs(k - centre) / reach
    first[i] = low
    count[i] = Math.min(high - low + 1, most)
    for (let k = low; k <= high; k++) weights[i * most + k - low] = (1 - Math.abs(k - centre) / reach) / sum
  }
  return { first, count, weights, most }
}

function resampleRows({ data, planes, width: from, height }: Planes, width: number): Planes {
  if (width === from) return { data, planes, width, height }
  const { first, count, weights, most } = tapsOf(from, width)
  const out = new Float32Array(planes * width * height)
  for (let row = 0; row < planes * height; row++) {
    for (let x = 0; x < width; x++) {
      const start = row * from + first[x]!
      let sum = 0
      for (let k = 0; k < count[x]!; k++) sum += data[start + k]! * weights[x * most + k]!
      out[row * width + x] = sum
    }
  }
  return { data: out, planes, width, height }
}

function resampleColumns({ data, planes, width, height: from }: Planes, height: number): Planes {
  if (height === from) return { data, planes, width, height }
  const { first, count, weights, most } = tapsOf(from, height)
  const out = new Float32Array(planes * width * height)
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < height; y++) {
      const to = (plane * height + y) * width
      for (let k = 0; k < count[y]!; k++) {
        const weight = weights[y * most + k]!
        const row = (plane * from + first[y]! + k) * width
        for (let x = 0; x < width; x++) out[to + x]! += data[row + x]! * weight
      }
    }
  }
  return { data: out, planes, width, height }
}

/** Of interleaved bytes, in 0..1, already at the new size: a large picture is never whole in floats. */
export function resampleBytes(
  rgb: Uint8Array,
  { width: from, height: rows }: { readonly width: number; readonly height: number },
  width: number,
  height: number,
): Planes {
  const { first, count, weights, most } = tapsOf(from, width)
  const narrow = new Float32Array(3 * width * rows)
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < width; x++) {
      const start = 3 * (y * from + first[x]!)
      let [red, green, blue] = [0, 0, 0]
      for (let k = 0; k < count[x]!; k++) {
        const weight = weights[x * most + k]! / 255
        red += rgb[start + 3 * k]! * weight
        green += rgb[start + 3 * k + 1]! * weight
        blue += rgb[start + 3 * k + 2]! * weight
      }
      narrow[y * width + x] = red
      narrow[(rows + y) * width + x] = green
      narrow[(2 * rows + y) * width + x] = blue
    }
  }
  return resampleColumns({ data: narrow, planes: 3, width, height: rows }, height)
}

/** Larger by repeating the last column and row. */
export function padded({ data, planes, width, height }: Planes, wide: number, high: number): Planes {
  if (wide === width && high === height) return { data, planes, width, height }
  const out = new Float32Array(planes * wide * high)
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < high; y++) {
      const row = (plane * height + Math.min(y, height - 1)) * width
      const to = (plane * high + y) * wide
      out.set(data.subarray(row, row + width), to)
      out.fill(data[row + width - 1]!, to + width, to + wide)
    }
  }
  return { data: out, planes, width: wide, height: high }
}

/** The upper left part. */
export function cropped({ data, planes, width, height }: Planes, wide: number, high: number): Planes {
  if (wide === width && high === height) return { data, planes, width, height }
  const out = new Float32Array(planes * wide * high)
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < high; y++) {
      const row = (plane * height + y) * width
      out.set(data.subarray(row, row + wide), (plane * high + y) * wide)
    }
  }
  return { data: out, planes, width: wide, height: high }
}
