import type { Graph, Value } from '../graph/graph.ts'

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
  return product(g, values, {
    scale,
    zero,
    bias,
    weight: g.eightBitWeight(layer, [x.dims[1] as number, out]),
  })
}

interface Factors {
  readonly scale: Value
  readonly zero: Value
  readonly weight: { readonly values: Value; readonly scales: Value }
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

/** An input that is unfolded takes 9 bytes for each number: larger ones are unfolded in bands of rows. */
const unfoldedBytes = 96 * 2 ** 20

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
  const weight = g.eightBitWeight(layer, [inner, out])
  const toPicture = (rows: Value, band: number) =>
    g.transpose(g.reshape(rows, [batch, band, width, out]), [0, 3, 1, 2])
  if (kernel === 1 && stride === 1 && pads.every((pad) => pad === 0)) {
    const rows = g.reshape(last, [batch * height * width, channels])
    return toPicture(product(g, rows, { scale, zero, weight, bias }), height)
  }
  const whole = g.padded(last, pads, zero)
  const most = Math.max(1, Math.floor(unfoldedBytes / (batch * width * inner)))
  const bands: Value[] = []
  for (let top = 0; top < height; top += most) {
    const band = Math.min(most, height - top)
    const seen: Value[] = []
    for (let y = 0; y < kernel; y++) {
      for (let x = 0; x < kernel; x++) {
        seen.push(g.window(whole, [top * stride + y, x], [band, width], stride))
      }
    }
    const unfolded = g.op('Concat', seen, [batch, band, width, inner], { axis: 3 })
    const rows = g.reshape(unfolded, [batch * band * width, inner])
    bands.push(toPicture(product(g, rows, { scale, zero, weight, bias }), band))
  }
  return bands.length === 1 ? (bands[0] as Value) : g.op('Concat', bands, dims, { axis: 2 })
}
