import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import { eightBitPixels } from '../int8/products.ts'
import {
  add,
  asRows,
  attention,
  conv,
  groupNorm,
  inPieces,
  layerNorm,
  linear,
  linearHalves,
  pointwise,
  resnet,
  silu,
  toPicture,
  toRows,
  upsample,
} from './layers.ts'

/** diffusers' UNet2DConditionModel, by the keys of `unet/config.json`; only what SD 1.x and 2.x use. */
export interface UnetConfig {
  readonly in_channels: number
  readonly out_channels: number
  readonly block_out_channels: readonly number[]
  readonly down_block_types: readonly ('CrossAttnDownBlock2D' | 'DownBlock2D')[]
  readonly up_block_types: readonly ('CrossAttnUpBlock2D' | 'UpBlock2D')[]
  readonly layers_per_block: number
  readonly cross_attention_dim: number
  /** Despite its name in the file (`attention_head_dim`) this is the number of heads, per level. */
  readonly heads: readonly number[]
  readonly norm_num_groups: number
  readonly norm_eps: number
  readonly flip_sin_to_cos: boolean
  readonly freq_shift: number
}

/** Batch, latent height and width, and the number of text tokens that a graph is written for. */
export interface UnetShape {
  readonly batch: number
  /**
   * How many pictures the batch belongs to, with equally many rows each that follow one another: what does not depend on the
   * text is computed once for each picture. When not given, each row has its own sample.
   */
  readonly pictures?: number
  readonly height: number
  readonly width: number
  readonly tokens: number
  /** Whether rows have text of different lengths: adds the input `mask`. */
  readonly masked?: boolean
}

interface Context {
  readonly g: Graph
  readonly config: UnetConfig
  /** silu(time embedding) [B, 4 * C0] */
  readonly time: Value
  /** Text states as rows [B * tokens, cross_attention_dim] */
  readonly text: Value
  /** [B, tokens] */
  readonly mask: Value | undefined
  readonly batch: number
}

/** diffusers gives Transformer2DModel's GroupNorm its own epsilon. */
const transformerNormEpsilon = 1e-6

/**
 * Inputs `sample` [pictures, in_channels, H, W], `time` [B, C0] (see `timestepEmbedding`), `text` [B, tokens,
 * cross_attention_dim]; if `shape.masked`, also `mask` int32 [B, tokens], 1 for text and 0 for padding, which no
 * position then attends to. Output `prediction` [B, out_channels, H, W].
 */
export function unetGraph(
  config: UnetConfig,
  weights: WeightSource,
  shape: UnetShape,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('unet', weights, options)
  const { batch, pictures = batch, height, width, tokens } = shape
  const channels = config.block_out_channels
  const first = channels[0] as number
  const sample = g.batchInput('sample', [pictures, config.in_channels, height, width])
  const sinusoid = g.batchInput('time', [batch, first])
  const states = g.batchInput('text', [batch, tokens, config.cross_attention_dim])
  const hidden = silu(g, linear(g, 'time_embedding.linear_1', sinusoid, first * 4))
  const context: Context = {
    g,
    config,
    batch,
    time: silu(g, linear(g, 'time_embedding.linear_2', hidden, first * 4)),
    text: g.reshape(states, [batch * tokens, config.cross_attention_dim]),
    mask: shape.masked ? g.integerInput('mask', [batch, tokens]) : undefined,
  }

  let x = conv(g, 'conv_in', sample, first, { kernel: 3 })
  const skips = [x]
  for (const [level, out] of channels.entries()) {
    for (let layer = 0; layer < config.layers_per_block; layer++) {
      const key = `down_blocks.${level}`
      x = block(context, `${key}.resnets.${layer}`, x, out)
      if (config.down_block_types[level] === 'CrossAttnDownBlock2D') {
        x = transformer(context, `${key}.attentions.${layer}`, x, config.heads[level] as number)
      }
      skips.push(x)
    }
    if (level < channels.length - 1) {
      x = conv(g, `down_blocks.${level}.downsamplers.0.conv`, x, out, { kernel: 3, stride: 2 })
      skips.push(x)
    }
  }

  const last = channels.at(-1) as number
  x = block(context, 'mid_block.resnets.0', x, last)
  x = transformer(context, 'mid_block.attentions.0', x, config.heads.at(-1) as number)
  x = block(context, 'mid_block.resnets.1', x, last)

  for (const [index, out] of channels.toReversed().entries()) {
    const key = `up_blocks.${index}`
    const level = channels.length - 1 - index
    for (let layer = 0; layer <= config.layers_per_block; layer++) {
      x = block(context, `${key}.resnets.${layer}`, concat(g, x, skips.pop() as Value), out)
      if (config.up_block_types[index] === 'CrossAttnUpBlock2D') {
        x = transformer(context, `${key}.attentions.${layer}`, x, config.heads[level] as number)
      }
    }
    const next = skips.at(-1)
    if (next) {
      const [, , height, width] = next.dims as [number, number, number, number]
      x = upsample(g, `${key}.upsamplers.0`, x, height, width)
    }
  }

  x = silu(g, groupNorm(g, 'conv_norm_out', x, config.norm_num_groups, config.norm_eps))
  g.output('prediction', conv(g, 'conv_out', x, config.out_channels, { kernel: 3 }))
  weights.assertAllTaken()
  return g.serialize()
}

function block({ g, config, time }: Context, key: string, x: Value, out: number): Value {
  return resnet(g, key, x, { out, groups: config.norm_num_groups, epsilon: config.norm_eps, time })
}

/** Along the channels. @param skip of each picture, if it comes from before the first text */
function concat(g: Graph, x: Value, skip: Value): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const dims = [batch, channels + (skip.dims[1] as number), height, width]
  return g.op('Concat', [x, asRows(g, skip, skip.dims[0] as number, batch)], dims, { axis: 1 })
}

/**
 * diffusers' Transformer2DModel with one BasicTransformerBlock.
 * @param x [pictures or B, C, H, W] @returns [B, C, H, W]
 */
function transformer(context: Context, key: string, x: Value, heads: number): Value {
  const { g, config, batch } = context
  const [pictures, channels] = x.dims as [number, number]
  const normal = groupNorm(g, `${key}.norm`, x, config.norm_num_groups, transformerNormEpsilon)
  let rows = projectionOfPixels(g, `${key}.proj_in`, normal, channels)
  const inner = `${key}.transformer_blocks.0`
  const norm1 = layerNorm(g, `${inner}.norm1`, rows, 1e-5)
  rows = add(g, rows, attend(g, `${inner}.attn1`, norm1, { source: norm1, heads, batch: pictures }))
  // from here on the rows of a picture differ
  rows = asRows(g, rows, pictures, batch)
  const norm2 = layerNorm(g, `${inner}.norm2`, rows, 1e-5)
  const { text: source, mask } = context
  rows = add(g, rows, attend(g, `${inner}.attn2`, norm2, { source, heads, batch, mask }))
  rows = add(g, rows, feedForward(g, `${inner}.ff.net`, layerNorm(g, `${inner}.norm3`, rows, 1e-5)))
  rows = projection(g, `${key}.proj_out`, rows, channels)
  const before = asRows(g, x, pictures, batch)
  return add(g, toPicture(g, rows, before), before)
}

/** SD 1.x stores these as 1x1 convolutions, SD 2.x as linear layers. */
function projection(g: Graph, key: string, x: Value, out: number): Value {
  return g.storedRank(`${key}.weight`) === 4 ? pointwise(g, key, x, out) : linear(g, key, x, out)
}

/** @param x [B, C, H, W] @returns [B * H * W, out] */
function projectionOfPixels(g: Graph, key: string, x: Value, out: number): Value {
  return g.inEightBits(key) && g.loraRank(key) === 0
    ? eightBitPixels(g, key, x, out, g.weight(`${key}.bias`, [out]))
    : projection(g, key, toRows(g, x), out)
}

interface Attended {
  /** Rows [B * keys, C] that are attended to. */
  readonly source: Value
  readonly heads: number
  readonly batch: number
  readonly mask?: Value | undefined
}

function attend(g: Graph, key: string, x: Value, { source, ...shape }: Attended): Value {
  const channels = x.dims[1] as number
  const q = linear(g, `${key}.to_q`, x, channels, { bias: false })
  const k = linear(g, `${key}.to_k`, source, channels, { bias: false })
  const v = linear(g, `${key}.to_v`, source, channels, { bias: false })
  return linear(g, `${key}.to_out.0`, attention(g, q, k, v, shape), channels)
}

/** GEGLU: one half of the projection gates the other (https://arxiv.org/abs/2002.05202). */
function feedForward(g: Graph, key: string, x: Value): Value {
  const channels = x.dims[1] as number
  const [first, last] = [`${key}.0.proj`, `${key}.2`]
  const block = (rows: Value) => {
    const [hidden, gate] = linearHalves(g, first, rows, channels * 8)
    const gated = g.op('Mul', [hidden, g.op('Gelu', [gate], gate.dims)], hidden.dims)
    return linear(g, last, gated, channels)
  }
  return g.isPlain(first) && g.isPlain(last) ? inPieces(g, x, block) : block(x)
}

/**
 * The sinusoids of a timestep, in float32 like diffusers' get_timestep_embedding.
 * @returns [width]: cosines then sines if `flip_sin_to_cos`
 */
export function timestepEmbedding(timestep: number, width: number, config: UnetConfig): Float32Array {
  const half = width / 2
  const out = new Float32Array(width)
  const [sin, cos] = config.flip_sin_to_cos ? [half, 0] : [0, half]
  for (let i = 0; i < half; i++) {
    const exponent = Math.fround(Math.fround(-Math.log(10000) * i) / Math.fround(half - config.freq_shift))
    const angle = Math.fround(timestep * Math.fround(Math.exp(exponent)))
    out[sin + i] = Math.sin(angle)
    out[cos + i] = Math.cos(angle)
  }
  return out
}
