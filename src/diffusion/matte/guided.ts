import { type Planes, resample } from './resample.ts'

/**
 * Alpha at the size of a larger picture, with the picture's own edges: around each place alpha is taken as a linear function
 * of the colour (He, Sun, Tang: Guided Image Filtering, 2013; at the small size: He, Sun: Fast Guided Filter, 2015). Where
 * alpha is 0 or 1 all around, it stays that.
 */
const radius = 2
/** Squared difference of colour, 0..1, below which colour tells nothing: noise and compression stay out of the edges. */
const tolerance = 4e-4

interface Bytes {
  readonly rgb: Uint8Array
  readonly width: number
  readonly height: number
}

/**
 * @param alpha one plane, 0..1
 * @param colour of the same size as alpha, three planes, 0..1
 * @returns 0..255, of the picture's size
 */
export function guidedAlpha(alpha: Planes, colour: Planes, { rgb, width, height }: Bytes): Uint8Array {
  const { width: w, height: h } = alpha
  const lines = linesOf(alpha, colour)
  const [low, high] = [spread(alpha, Math.min), spread(alpha, Math.max)]
  const out = new Uint8Array(width * height)
  const [across, down] = [w / width, h / height]
  const planes = [0, 1, 2, 3].map((k) => lines.data.subarray(k * w * h))
  const at = new Float32Array(4)
  for (let y = 0; y < height; y++) {
    const v = Math.min(Math.max((y + 0.5) * down - 0.5, 0), h - 1)
    const [top, share] = [Math.floor(v), v - Math.floor(v)]
    const bottom = Math.min(top + 1, h - 1)
    for (let x = 0; x < width; x++) {
      const u = Math.min(Math.max((x + 0.5) * across - 0.5, 0), w - 1)
      const left = Math.floor(u)
      const [right, part] = [Math.min(left + 1, w - 1), u - left]
      const [a, b, c, d] = [top * w + left, top * w + right, bottom * w + left, bottom * w + right]
      const least = Math.min(low[a]!, low[b]!, low[c]!, low[d]!)
      const most = Math.max(high[a]!, high[b]!, high[c]!, high[d]!)
      const i = y * width + x
      if (most - least < 1 / 255) {
        out[i] = Math.round(255 * most)
        continue
      }
      const [wa, wb, wc, wd] = [
        (1 - part) * (1 - share),
        part * (1 - share),
        (1 - part) * share,
        part * share,
      ]
      for (let k = 0; k < 4; k++) {
        const plane = planes[k]!
        at[k] = plane[a]! * wa + plane[b]! * wb + plane[c]! * wc + plane[d]! * wd
      }
      const value =
        at[3]! + (at[0]! * rgb[3 * i]! + at[1]! * rgb[3 * i + 1]! + at[2]! * rgb[3 * i + 2]!) / 255
      out[i] = Math.round(255 * Math.min(Math.max(value, least), most))
    }
  }
  return out
}

/** For each place the coefficients of red, green and blue, and the constant: four planes. */
function linesOf(alpha: Planes, colour: Planes): Planes {
  const { width, height } = alpha
  const count = width * height
  const [red, green, blue] = [0, 1, 2].map((c) => colour.data.subarray(c * count, (c + 1) * count)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ]
  const mean = (of: (i: number) => number) =>
    boxMean(
      Float32Array.from({ length: count }, (_, i) => of(i)),
      width,
      height,
    )
  const a = alpha.data
  const [r, g, b, m] = [
    boxMean(red, width, height),
    boxMean(green, width, height),
    boxMean(blue, width, height),
    boxMean(a, width, height),
  ]
  const [rr, rg, rb] = [
    mean((i) => red[i]! * red[i]!),
    mean((i) => red[i]! * green[i]!),
    mean((i) => red[i]! * blue[i]!),
  ]
  const [gg, gb, bb] = [
    mean((i) => green[i]! * green[i]!),
    mean((i) => green[i]! * blue[i]!),
    mean((i) => blue[i]! * blue[i]!),
  ]
  const [ra, ga, ba] = [
    mean((i) => red[i]! * a[i]!),
    mean((i) => green[i]! * a[i]!),
    mean((i) => blue[i]! * a[i]!),
  ]
  const out = new Float32Array(4 * count)
  for (let i = 0; i < count; i++) {
    const [x, y, z] = [r[i]!, g[i]!, b[i]!]
    const [s11, s12, s13] = [rr[i]! - x * x + tolerance, rg[i]! - x * y, rb[i]! - x * z]
    const [s22, s23, s33] = [gg[i]! - y * y + tolerance, gb[i]! - y * z, bb[i]! - z * z + tolerance]
    const [c1, c2, c3] = [ra[i]! - x * m[i]!, ga[i]! - y * m[i]!, ba[i]! - z * m[i]!]
    const [i11, i12, i13] = [s22 * s33 - s23 * s23, s13 * s23 - s12 * s33, s12 * s23 - s13 * s22]
    const [i22, i23, i33] = [s11 * s33 - s13 * s13, s12 * s13 - s11 * s23, s11 * s22 - s12 * s12]
    const size = s11 * i11 + s12 * i12 + s13 * i13
    const [p, q, t] = [
      (i11 * c1 + i12 * c2 + i13 * c3) / size,
      (i12 * c1 + i22 * c2 + i23 * c3) / size,
      (i13 * c1 + i23 * c2 + i33 * c3) / size,
    ]
    out[i] = p
    out[count + i] = q
    out[2 * count + i] = t
    out[3 * count + i] = m[i]! - p * x - q * y - t * z
  }
  for (let k = 0; k < 4; k++)
    out.set(boxMean(out.slice(k * count, (k + 1) * count), width, height), k * count)
  return { data: out, planes: 4, width, height }
}

/** The mean of a square of 2 x radius + 1, of what is inside the plane. */
function boxMean(plane: Float32Array, width: number, height: number): Float32Array {
  const across = new Float32Array(plane.length)
  for (let y = 0; y < height; y++) {
    const row = y * width
    let [sum, count] = [0, 0]
    for (let x = -radius; x < width; x++) {
      if (x + radius < width) {
        sum += plane[row + x + radius]!
        count += 1
      }
      if (x - radius > 0) {
        sum -= plane[row + x - radius - 1]!
        count -= 1
      }
      if (x >= 0) across[row + x] = sum / count
    }
  }
  const out = new Float32Array(plane.length)
  for (let x = 0; x < width; x++) {
    let [sum, count] = [0, 0]
    for (let y = -radius; y < height; y++) {
      if (y + radius < height) {
        sum += across[(y + radius) * width + x]!
        count += 1
      }
      if (y - radius > 0) {
        sum -= across[(y - radius - 1) * width + x]!
        count -= 1
      }
      if (y >= 0) out[y * width + x] = sum / count
    }
  }
  return out
}

/** The least or largest of the 3 x 3 around each place. */
function spread({ data, width, height }: Planes, of: (...values: number[]) => number): Float32Array {
  const across = new Float32Array(data.length)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x
      across[i] = of(data[x > 0 ? i - 1 : i]!, data[i]!, data[x < width - 1 ? i + 1 : i]!)
    }
  }
  const out = new Float32Array(data.length)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x
      out[i] = of(across[y > 0 ? i - width : i]!, across[i]!, across[y < height - 1 ? i + width : i]!)
    }
  }
  return out
}

/** Alpha made smaller, where the network saw a picture larger than it is. @returns 0..255 */
export function plainAlpha(alpha: Planes, width: number, height: number): Uint8Array {
  const { data } = resample(alpha, width, height)
  return Uint8Array.from(data, (value) => Math.round(255 * Math.min(Math.max(value, 0), 1)))
}
