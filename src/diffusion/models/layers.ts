import type { Graph, Value } from '../graph/graph.ts'

/**
 * The layers that CLIP, UNet and VAE share, each as the operators that ONNX Runtime has fast kernels for on CPU
 * and WebGPU alike. `key` is the layer's prefix in the checkpoint. Pictures are [batch, channels, height,
 * width]; token sequences are kept as matrices [batch * tokens, channels] so that Gemm can use the weights in
 * place (torch stores [out, in], hence transB).
 */

/** @param x [rows, in] @returns [rows, out] */
export function linear(g: Graph, key: string, x: Value, out: number, { bias = true } = {}): Value {
  const [rows, columns] = x.dims as [number, number]
  return gemm(
    g,
    x,
    g.weight(`${key}.weight`, [out, columns]),
    bias ? g.weight(`${key}.bias`, [out]) : undefined,
    rows,
  )
}

/** A 1x1 convolution applied to rows: its weight [out, in, 1, 1] is read as a matrix. */
export function pointwise(g: Graph, key: string, x: Value, out: number): Value {
  const [rows, columns] = x.dims as [number, number]
  const weight = g.weight(`${key}.weight`, [out, columns, 1, 1], [out, columns])
  return gemm(g, x, weight, g.weight(`${key}.bias`, [out]), rows)
}

function gemm(g: Graph, x: Value, weight: Value, bias: Value | undefined, rows: number): Value {
  return g.op('Gemm', bias ? [x, weight, bias] : [x, weight], [rows, weight.dims[0] as number], { transB: 1 })
}

interface ConvOptions {
  readonly kernel: 1 | 3
  readonly stride?: 1 | 2
  /** [top, left, bottom, right]; by default the output has the input's size (halved by a stride of 2). */
  readonly pads?: readonly [number, number, number, number]
}

/** @param x [B, in, H, W] @returns [B, out, H', W'] */
export function conv(g: Graph, key: string, x: Value, out: number, options: ConvOptions): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const { kernel, stride = 1 } = options
  const around = (kernel - 1) / 2
  const pads = options.pads ?? [around, around, around, around]
  const size = (length: number, before: number, after: number) =>
    Math.floor((length + before + after - kernel) / stride) + 1
  return g.op(
    'Conv',
    [x, g.weight(`${key}.weight`, [out, channels, kernel, kernel]), g.weight(`${key}.bias`, [out])],
    [batch, out, size(height, pads[0], pads[2]), size(width, pads[1], pads[3])],
    { kernel_shape: [kernel, kernel], pads, strides: [stride, stride] },
  )
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
}

/**
 * Scaled dot-product attention of matrices of rows.
 * @param q [batch * tokens, C] @param k, v [batch * keys, C] @returns [batch * tokens, C]
 */
export function attention(g: Graph, q: Value, k: Value, v: Value, shape: AttentionShape): Value {
  const sequence = (x: Value) => {
    const [rows, width] = x.dims as [number, number]
    return g.reshape(x, [shape.batch, rows / shape.batch, width])
  }
  const query = sequence(q)
  const result = g.op(
    'MultiHeadAttention',
    [query, sequence(k), sequence(v)],
    query.dims,
    { num_heads: shape.heads, unidirectional: shape.causal ? 1 : 0 },
    'com.microsoft',
  )
  return g.reshape(result, q.dims)
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

interface ResnetOptions {
  readonly out: number
  readonly groups: number
  readonly epsilon: number
  /** silu(time embedding) [B, T]; absent in the VAE. */
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
  if (time) h = add(g, h, g.reshape(linear(g, `${key}.time_emb_proj`, time, out), [batch, out, 1, 1]))
  h = silu(g, groupNorm(g, `${key}.norm2`, h, groups, epsilon))
  h = conv(g, `${key}.conv2`, h, out, { kernel: 3 })
  return add(g, h, channels === out ? x : conv(g, `${key}.conv_shortcut`, x, out, { kernel: 1 }))
}

/** Twice the size (or just `height` x `width`), then a convolution. */
export function upsample(g: Graph, key: string, x: Value, height: number, width: number): Value {
  return conv(g, `${key}.conv`, g.resize(x, height, width), x.dims[1] as number, { kernel: 3 })
}
