import { bandsOf } from '../graph/bands.ts'
import type { Graph, Value } from '../graph/graph.ts'
import { eightBitConv, eightBitDoubled, eightBitHalves, eightBitProduct } from '../int8/products.ts'
import { winogradConv, winogradTile } from './winograd.ts'

/**
 * The layers that CLIP, UNet and VAE share, each as the operators that ONNX Runtime has fast kernels for on CPU
 * and WebGPU alike. `key` is the layer's prefix in the checkpoint. Pictures are [batch, channels, height,
 * width]; token sequences are kept as matrices [batch * tokens, channels] so that Gemm can use the weights in
 * place (torch stores [out, in], hence transB).
 */

/** @param x [rows, in] @returns [rows, out] */
export function linear(g: Graph, key: string, x: Value, out: number, { bias = true } = {}): Value {
  const columns = x.dims[1] as number
  const addend = bias ? g.weight(`${key}.bias`, [out]) : undefined
  const y = g.either(key, {
    exact: () => gemm(g, x, g.weight(`${key}.weight`, [out, columns]), addend),
    eightBits: () => eightBitProduct(g, key, x, out, addend),
  })
  return withLora(g, key, x, y)
}

/** A linear layer whose outputs are two halves. @param x [rows, in] @returns two of [rows, out / 2] */
export function linearHalves(g: Graph, key: string, x: Value, out: number): [Value, Value] {
  const [rows, columns] = x.dims as [number, number]
  if (g.isPlain(key)) {
    const [upper, lower] = g.weightHalves(`${key}.weight`, [out, columns])
    const [before, after] = g.weightHalves(`${key}.bias`, [out])
    return [gemm(g, x, upper, before), gemm(g, x, lower, after)]
  }
  const addend = g.weight(`${key}.bias`, [out])
  const halves = () => eightBitHalves(g, key, x, out, addend)
  if (g.inEightBits(key) && g.loraRank(key) === 0) return halves()
  const y = g.either(key, {
    exact: () => gemm(g, x, g.weight(`${key}.weight`, [out, columns]), addend),
    eightBits: () => g.op('Concat', halves(), [rows, out], { axis: 1 }),
  })
  return g.halves(withLora(g, key, x, y))
}

/** Of so many rows a feed-forward block of 320 channels holds 2.6 MB. */
const piece = 256

/**
 * A feed-forward block, which makes each row from that row alone. What it holds of all rows at once outgrows the processor's
 * cache where it is more than twice its weights (8 numbers of a row for each channel, 12 weights for each pair of them).
 * @param x [rows, C] @returns [rows, C]
 */
export function inPieces(g: Graph, x: Value, block: (rows: Value) => Value): Value {
  const [rows, channels] = x.dims as [number, number]
  const pieces = g.inPieces && rows >= 3 * channels ? Math.ceil(rows / piece) : 1
  if (pieces === 1) return block(x)
  const picture = g.reshape(x, [1, rows, 1, channels])
  const made = bandsOf(rows, pieces).map((band) => {
    const some = g.rowsOf(picture, band.top, band.top + band.rows)
    return block(g.reshape(some, [some.dims[1] as number, channels]))
  })
  return g.op('Concat', made, x.dims, { axis: 0 })
}

/** A 1x1 convolution applied to rows: its weight [out, in, 1, 1] is read as a matrix. */
export function pointwise(g: Graph, key: string, x: Value, out: number): Value {
  const columns = x.dims[1] as number
  const bias = g.weight(`${key}.bias`, [out])
  const y = g.either(key, {
    exact: () => gemm(g, x, g.weight(`${key}.weight`, [out, columns, 1, 1], [out, columns]), bias),
    eightBits: () => eightBitProduct(g, key, x, out, bias),
  })
  return withLora(g, key, x, y)
}

/** @param addend [out], or [rows, out] */
function gemm(g: Graph, x: Value, weight: Value, addend: Value | undefined): Value {
  const dims = [x.dims[0] as number, weight.dims[0] as number]
  return g.op('Gemm', addend ? [x, weight, addend] : [x, weight], dims, { transB: 1 })
}

/**
 * The two matrices of a layer's low-rank branch (https://arxiv.org/abs/2106.09685), fed rather than stored, so
 * that another LoRA of the same ranks needs no other session: `lora:KEY:down` [rank, ...inner] and `lora:KEY:up`
 * [out, rank], which carries strength and alpha.
 */
function loraInputs(g: Graph, key: string, inner: readonly number[], out: number) {
  const rank = g.loraRank(key)
  if (rank === 0) return undefined
  return { down: g.input(`lora:${key}:down`, [rank, ...inner]), up: g.input(`lora:${key}:up`, [out, rank]) }
}

/** y + up(down(x)) for rows, if the layer has a LoRA. */
function withLora(g: Graph, key: string, x: Value, y: Value): Value {
  const lora = loraInputs(g, key, [x.dims[1] as number], y.dims[1] as number)
  return lora ? gemm(g, gemm(g, x, lora.down, undefined), lora.up, y) : y
}

interface ConvOptions {
  readonly kernel: 1 | 3
  readonly stride?: 1 | 2
  /** [top, left, bottom, right]; by default the output has the input's size (halved by a stride of 2). */
  readonly pads?: readonly [number, number, number, number]
  readonly bias?: boolean
  /** What `x` is twice the size of: see `eightBitDoubled`. */
  readonly half?: Value | undefined
}

/** @param x [B, in, H, W] @returns [B, out, H', W'] */
export function conv(g: Graph, key: string, x: Value, out: number, options: ConvOptions): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const { kernel, stride = 1, half } = options
  const around = (kernel - 1) / 2
  const pads = options.pads ?? [around, around, around, around]
  const size = (length: number, before: number, after: number) =>
    Math.floor((length + before + after - kernel) / stride) + 1
  const [outHeight, outWidth] = [size(height, pads[0], pads[2]), size(width, pads[1], pads[3])]
  const attributes = { kernel_shape: [kernel, kernel], pads, strides: [stride, stride] }
  const dims = [batch, out, outHeight, outWidth] as const
  const bias = (options.bias ?? true) ? [g.weight(`${key}.bias`, [out])] : []
  const y = g.either(key, {
    exact() {
      const bordered = kernel === 3 && stride === 1 && pads.every((pad) => pad === 1)
      const tile = bordered && winogradTile(g, key, channels, dims)
      if (tile) return winogradConv(g, key, x, out, { tile, bias: bias[0] })
      const weight = g.weight(`${key}.weight`, [out, channels, kernel, kernel])
      return g.op('Conv', [x, weight, ...bias], dims, attributes)
    },
    eightBits: () =>
      half
        ? eightBitDoubled(g, key, half, out, bias[0])
        : eightBitConv(g, key, x, { dims, kernel, stride, pads, bias: bias[0] }),
  })

  const lora = loraInputs(g, key, kernel === 1 ? [channels] : [channels, kernel, kernel], out)
  if (!lora) return y
  const rank = lora.down.dims[0] as number
  const down = g.reshape(lora.down, [rank, channels, kernel, kernel])
  const low = g.op('Conv', [x, down], [batch, rank, outHeight, outWidth], attributes)
  const up = g.reshape(lora.up, [out, rank, 1, 1])
  return add(g, y, g.op('Conv', [low, up], y.dims, { kernel_shape: [1, 1] }))
}

export function add(g: Graph, a: Value, b: Value): Value {
  return g.op('Add', [a, b], a.dims)
}

/** x * sigmoid(x), by the fused kernel that both providers have. */
export function silu(g: Graph, x: Value): Value {
  return g.op('QuickGelu', [x], x.dims, { alpha: { float: 1 } }, 'com.microsoft')
}

/**
 * Group normalisation of [B, C, H, W]. ONNX Runtime has no CPU kernel for GroupNorm; LayerNormalization over
 * the flattened group is the fastest form (1.3 times the InstanceNormalization form, docs/performance.md).
 */
export function groupNorm(g: Graph, key: string, x: Value, groups: number, epsilon: number): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const perGroup = (channels / groups) * height * width
  const flat = g.reshape(x, [batch, groups, perGroup])
  const normal = g.op('LayerNormalization', [flat, g.filled(1, [perGroup])], flat.dims, {
    axis: -1,
    epsilon: { float: epsilon },
  })
  const scale = g.weight(`${key}.weight`, [channels], [1, channels, 1, 1])
  const shift = g.weight(`${key}.bias`, [channels], [1, channels, 1, 1])
  const scaled = g.op('Mul', [g.reshape(normal, x.dims), scale], x.dims)
  return g.op('Add', [scaled, shift], x.dims)
}

/** Normalises the last axis. */
export function layerNorm(g: Graph, key: string, x: Value, epsilon: number): Value {
  const width = x.dims.at(-1) as number
  const inputs = [x, g.weight(`${key}.weight`, [width]), g.weight(`${key}.bias`, [width])]
  return g.op('LayerNormalization', inputs, x.dims, { axis: -1, epsilon: { float: epsilon } })
}

interface AttentionShape {
  readonly batch: number
  readonly heads: number
  /** Every token sees only itself and those before it. */
  readonly causal?: boolean
  /** [batch, keys]: 1 for keys to attend to, 0 for padding. */
  readonly mask?: Value | undefined
}

/** Added to the score of a key that must not be seen: its weight is then 0, and half precision can hold it. */
const unseen = -10000

/**
 * Scaled dot-product attention of matrices of rows. What must not be seen is told by a bias of the scores, which
 * every provider takes: WebGPU refuses MultiHeadAttention's key_padding_mask.
 * @param q [batch * tokens, C] @param k, v [batch * keys, C] @returns [batch * tokens, C]
 */
export function attention(g: Graph, q: Value, k: Value, v: Value, shape: AttentionShape): Value {
  const tokens = (q.dims[0] as number) / shape.batch
  const bias = shape.causal ? causalBias(g, tokens) : shape.mask && paddingBias(g, shape.mask, tokens)
  if (g.attention === 'plain') return plainAttention(g, [q, k, v], shape, bias)
  const [query, key, value] = [q, k, v].map((x) => {
    const [rows, width] = x.dims as [number, number]
    return g.reshape(x, [shape.batch, rows / shape.batch, width])
  }) as [Value, Value, Value]
  const inputs = [query, key, value]
  // inputs without a name are left out: the bias of the projections, and a mask
  if (bias) inputs.push({ name: '', dims: [] }, { name: '', dims: [] }, bias)
  // without a bias ONNX Runtime's CPU kernel computes block by block; with one it holds all scores
  const scores = bias ? shape.batch * shape.heads * (query.dims[1] as number) * (key.dims[1] as number) : 0
  const attributes = { num_heads: shape.heads }
  const result = g.op('MultiHeadAttention', inputs, query.dims, attributes, 'com.microsoft', scores)
  return g.reshape(result, q.dims)
}

/** The same from operators that are exact everywhere; all scores are in memory at once. */
export function plainAttention(
  g: Graph,
  [q, k, v]: readonly [Value, Value, Value],
  { batch, heads }: AttentionShape,
  bias: Value | undefined,
): Value {
  const width = (q.dims[1] as number) / heads
  const split = (x: Value, order: readonly number[]) => {
    return g.transpose(g.reshape(x, [batch, (x.dims[0] as number) / batch, heads, width]), order)
  }
  const scale = g.constant(`attention ${width}`, [1 / Math.sqrt(width)], [1])
  // before the product, which could leave the range of half precision
  const query = split(g.op('Mul', [q, scale], q.dims), [0, 2, 1, 3])
  const [keys, values] = [split(k, [0, 2, 3, 1]), split(v, [0, 2, 1, 3])]
  const dims = [batch, heads, query.dims[2] as number, keys.dims[3] as number]
  const scores = g.op('MatMul', [query, keys], dims)
  const weights = g.op('Softmax', [bias ? add(g, scores, bias) : scores], dims, { axis: -1 })
  const mixed = g.op('MatMul', [weights, values], query.dims)
  return g.reshape(g.transpose(mixed, [0, 2, 1, 3]), q.dims)
}

/** [1, 1, tokens, tokens] */
function causalBias(g: Graph, tokens: number): Value {
  const values = Array.from({ length: tokens * tokens }, (_, i) => (i % tokens > i / tokens ? unseen : 0))
  return g.constant(`causal ${tokens}`, values, [1, 1, tokens, tokens])
}

/** @param mask [batch, keys] @returns [batch, 1, tokens, keys] */
function paddingBias(g: Graph, mask: Value, tokens: number): Value {
  const [batch, keys] = mask.dims as [number, number]
  const padding = g.op('Sub', [mask, g.constant('1', [1], [1])], mask.dims)
  const bias = g.op('Mul', [padding, g.constant(String(-unseen), [-unseen], [1])], mask.dims)
  return g.expand(g.reshape(bias, [batch, 1, 1, keys]), [batch, 1, tokens, keys])
}

/** [B, C, H, W] to rows [B * H * W, C]. */
export function toRows(g: Graph, x: Value): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  return g.reshape(g.transpose(x, [0, 2, 3, 1]), [batch * height * width, channels])
}

/** Rows [B * H * W, C] back to the picture they came from. */
export function toPicture(g: Graph, rows: Value, like: Value): Value {
  const [batch, , height, width] = like.dims as [number, number, number, number]
  const channels = rows.dims[1] as number
  return g.transpose(g.reshape(rows, [batch, height, width, channels]), [0, 3, 1, 2])
}

/**
 * What belongs to each of `rows`, as often, or of the first of each so many, that it belongs to each of `length`.
 * @param x [rows * n, ...] @returns [length * n, ...]
 */
export function asRows(g: Graph, x: Value, rows: number, length: number): Value {
  if (rows === length) return x
  const [all = 0, ...rest] = x.dims
  const numbers = x.dims.reduce((product, dim) => product * dim, 1)
  const indices = () => Int32Array.from({ length }, (_, row) => Math.floor((row * rows) / length))
  const flat = g.reshape(x, [1, rows, numbers / rows])
  const picked = g.gathered(flat, `${length} of ${rows} rows`, indices)
  return g.reshape(picked, [(all / rows) * length, ...rest])
}

interface ResnetOptions {
  readonly out: number
  readonly groups: number
  readonly epsilon: number
  /** silu(time embedding), [B, T] or with several equal rows for each of B; absent in the VAE. */
  readonly time?: Value
}

/** diffusers' ResnetBlock2D: two normalised convolutions around a short cut. */
export function resnet(
  g: Graph,
  key: string,
  x: Value,
  { out, groups, epsilon, time }: ResnetOptions,
): Value {
  const [batch, channels] = x.dims as [number, number]
  let h = silu(g, groupNorm(g, `${key}.norm1`, x, groups, epsilon))
  h = conv(g, `${key}.conv1`, h, out, { kernel: 3 })
  if (time) {
    // projected with all its rows: the product of a single one has a kernel of its own, which adds in another order
    const shift = asRows(g, linear(g, `${key}.time_emb_proj`, time, out), time.dims[0] as number, batch)
    h = add(g, h, g.reshape(shift, [batch, out, 1, 1]))
  }
  h = silu(g, groupNorm(g, `${key}.norm2`, h, groups, epsilon))
  h = conv(g, `${key}.conv2`, h, out, { kernel: 3 })
  return add(g, h, channels === out ? x : conv(g, `${key}.conv_shortcut`, x, out, { kernel: 1 }))
}

/** Twice the size (or just `height` x `width`), then a convolution. */
export function upsample(g: Graph, key: string, x: Value, height: number, width: number): Value {
  const [batch, out, before, across] = x.dims as [number, number, number, number]
  const layer = `${key}.conv`
  const doubled = height === 2 * before && width === 2 * across
  const half = doubled && g.hasDoubled(layer) ? x : undefined
  const bias = () => g.weight(`${layer}.bias`, [out])
  if (half && g.inEightBits(layer) && g.loraRank(layer) === 0)
    return eightBitDoubled(g, layer, half, out, bias())
  const tile = doubled && g.isPlain(layer) && winogradTile(g, layer, out, [batch, out, height, width])
  if (tile) return winogradConv(g, layer, x, out, { tile, enlarged: true, bias: bias() })
  return conv(g, layer, g.resize(x, height, width), out, { kernel: 3, half })
}
