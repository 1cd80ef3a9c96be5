import { bandsFor } from '../graph/bands.ts'
import type { Graph, Value } from '../graph/graph.ts'
import { doubledTaps } from './doubled.ts'

/**
 * Layers whose products are of 8-bit numbers: those of the weights have a scale for each output, made once (`prepare.ts`);
 * those of the input have one scale, found at each run. Sums are of 32-bit integers, which is exact; all else is float32.
 */

/** @param x [rows, in] @param bias [out] @returns [rows, out] */
export function eightBitProduct(
  g: Graph,
  layer: string,
  x: Value,
  out: number,
  bias: Value | undefined,
): Value {
  const { values, scale, zero } = g.quantized(x)
  const [weight] = g.eightBitWeights(layer, [x.dims[1] as number, out])
  return product(g, values, { scale, zero, bias, weight: weight as Weight })
}

/**
 * A product whose weights are stored as two matrices, each for one half of the outputs: none is cut in two afterwards.
 * @param x [rows, in] @param bias [out] @returns two of [rows, out / 2]
 */
export function eightBitHalves(
  g: Graph,
  layer: string,
  x: Value,
  out: number,
  bias: Value | undefined,
): [Value, Value] {
  const { values, scale, zero } = g.quantized(x)
  const biases = bias && g.halves(bias)
  const weights = g.eightBitWeights(layer, [x.dims[1] as number, out], { parts: 2 })
  return weights.map((weight, half) => product(g, values, { scale, zero, weight, bias: biases?.[half] })) as [
    Value,
    Value,
  ]
}

/** The same for the pixels of a picture, which are transposed in eight bits. @param x [B, in, H, W] @returns [B * H * W, out] */
export function eightBitPixels(g: Graph, layer: string, x: Value, out: number, bias: Value): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const { values, scale, zero } = g.quantized(x)
  const rows = g.reshape(g.transpose(values, [0, 2, 3, 1]), [batch * height * width, channels])
  const [weight] = g.eightBitWeights(layer, [channels, out]) as [Weight]
  return product(g, rows, { scale, zero, bias, weight })
}

interface Weight {
  readonly values: Value
  readonly scales: Value
}

interface Factors {
  readonly scale: Value
  readonly zero: Value
  readonly weight: Weight
  readonly bias: Value | undefined
}

/** @param rows [rows, inner] in eight bits */
function product(g: Graph, rows: Value, { scale, zero, weight, bias }: Factors): Value {
  // weights have no zero point: they are symmetric
  const none = { name: '', dims: [] }
  const inputs = [rows, weight.values, scale, weight.scales, zero, ...(bias ? [none, bias] : [])]
  const dims = [rows.dims[0] as number, weight.values.dims[1] as number]
  return g.op('MatMulIntegerToFloat', inputs, dims, {}, 'com.microsoft')
}

interface EightBitConv {
  /** Of the output: [B, out, H', W']. */
  readonly dims: readonly [number, number, number, number]
  readonly kernel: 1 | 3
  readonly stride: number
  /** [top, left, bottom, right] */
  readonly pads: readonly [number, number, number, number]
  readonly bias: Value | undefined
}

/**
 * A convolution as a product: the input in channels-last layout, 8 bits each, what the kernel sees at each place side by
 * side. The runtime's own kernel for 8-bit convolutions is 20 times slower (docs/performance.md).
 * @param x [B, in, H, W]
 */
export function eightBitConv(g: Graph, layer: string, x: Value, options: EightBitConv): Value {
  const { dims, kernel, stride, pads, bias } = options
  const [batch, out, height, width] = dims
  const channels = x.dims[1] as number
  const inner = channels * kernel * kernel
  const { values, scale, zero } = g.quantized(x)
  const last = g.transpose(values, [0, 2, 3, 1])
  const [weight] = g.eightBitWeights(layer, [inner, out]) as [Weight]
  const factors = { scale, zero, weight, bias }
  const toPicture = (rows: Value, band: number) =>
    g.transpose(g.reshape(rows, [batch, band, width, out]), [0, 3, 1, 2])
  if (kernel === 1 && stride === 1 && pads.every((pad) => pad === 0)) {
    const rows = g.reshape(last, [batch * height * width, channels])
    return toPicture(product(g, rows, factors), height)
  }
  const whole = g.padded(last, pads, zero)
  const taps = Array.from(
    { length: kernel * kernel },
    (_, tap): Tap => [Math.floor(tap / kernel), tap % kernel],
  )
  const bands = bandsFor(height, batch * width * inner).map(({ top, rows: band }) => {
    const seen = g.rowsOf(whole, top * stride, (top + band - 1) * stride + kernel)
    const rows = unfolded(g, seen, { taps, stride, size: [band, width] })
    return toPicture(product(g, rows, factors), band)
  })
  return bands.length === 1 ? (bands[0] as Value) : g.op('Concat', bands, dims, { axis: 2 })
}

/**
 * A 3x3 convolution of a picture that is enlarged to twice its size first, from the picture as it is: of the nine places
 * that the kernel sees, only four differ, so each of the four pixels that one becomes has its own kernel of 2x2 (`doubled.ts`).
 * The same sums in 4/9 of the products.
 * @param x [B, in, H, W] @param bias [out] @returns [B, out, 2H, 2W]
 */
export function eightBitDoubled(
  g: Graph,
  layer: string,
  x: Value,
  out: number,
  bias: Value | undefined,
): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const inner = 4 * channels
  const { values, scale, zero } = g.quantized(x)
  const whole = g.padded(g.transpose(values, [0, 2, 3, 1]), [1, 1, 1, 1], zero)
  const weights = g.eightBitWeights(layer, [inner, 4 * out], { parts: 4, doubled: true })
  const bands = bandsFor(height, batch * width * inner).map(({ top, rows: band }) => {
    const seen = g.rowsOf(whole, top, top + band + 2)
    const pixels = weights.map((weight, pixel) => {
      const rows = unfolded(g, seen, { taps: doubledTaps(pixel), stride: 1, size: [band, width] })
      return g.reshape(product(g, rows, { scale, zero, weight, bias }), [batch, band, width, out])
    })
    const lines = [pixels.slice(0, 2), pixels.slice(2)].map((pair) => {
      return g.op('Concat', pair, [batch, band, width, 2 * out], { axis: 3 })
    })
    const both = g.op(
      'Concat',
      lines.map((line) => g.reshape(line, [batch, band, width * 2 * out])),
      [batch, band, 4 * width * out],
      { axis: 2 },
    )
    return g.transpose(g.reshape(both, [batch, 2 * band, 2 * width, out]), [0, 3, 1, 2])
  })
  const dims = [batch, out, 2 * height, 2 * width]
  return bands.length === 1 ? (bands[0] as Value) : g.op('Concat', bands, dims, { axis: 2 })
}

/** Rows and columns down and to the right of where a kernel begins. */
type Tap = readonly [row: number, column: number]

interface Unfolding {
  readonly taps: readonly Tap[]
  readonly stride: number
  /** Height and width of what comes out. */
  readonly size: readonly [number, number]
}

/** @param seen [B, H, W, C] with its border @returns [B * height * width, taps * C] */
function unfolded(g: Graph, seen: Value, { taps, stride, size: [height, width] }: Unfolding): Value {
  const [batch, rows, columns, channels] = seen.dims as [number, number, number, number]
  const flat = g.reshape(seen, [batch, rows * columns, channels])
  const name = `${height}x${width} of ${columns} by ${stride}: ${taps.join(' ')}`
  const places = g.gathered(flat, name, () => {
    const indices = new Int32Array(height * width * taps.length)
    let at = 0
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (const [down, right] of taps) indices[at++] = (y * stride + down) * columns + x * stride + right
      }
    }
    return indices
  })
  return g.reshape(places, [batch * height * width, taps.length * channels])
}
