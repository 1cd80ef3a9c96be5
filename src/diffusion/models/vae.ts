import { CheckpointError } from '../errors.ts'
import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import {
  add,
  attention,
  conv,
  groupNorm,
  linear,
  pointwise,
  resnet,
  silu,
  toPicture,
  toRows,
  upsample,
} from './layers.ts'

/** diffusers' AutoencoderKL, by the keys of `vae/config.json`. */
export interface VaeConfig {
  readonly latent_channels: number
  readonly out_channels: number
  readonly block_out_channels: readonly number[]
  readonly layers_per_block: number
  readonly norm_num_groups: number
  readonly scaling_factor: number
}

const epsilon = 1e-6

/** Each half has no use for the other's keys; a file may hold the decoder alone. */
const encoderKeys = ['encoder.', 'quant_conv.']
const decoderKeys = ['decoder.', 'post_quant_conv.']

/** Pictures are RGB. */
const pictureChannels = 3

/** Pictures are this many times as wide and high as their latents. */
export function vaeScale(config: VaeConfig): number {
  return 2 ** (config.block_out_channels.length - 1)
}

/**
 * Input `latent` [1, latent_channels, H, W], already divided by the scaling factor. Output `picture`
 * [1, out_channels, H * scale, W * scale], about -1 to 1.
 */
export function vaeDecoderGraph(
  config: VaeConfig,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('vae-decoder', weights, options)
  const channels = config.block_out_channels.toReversed()
  const groups = config.norm_num_groups
  const latent = g.input('latent', [1, config.latent_channels, height, width])

  let x = conv(g, 'post_quant_conv', latent, config.latent_channels, { kernel: 1 })
  x = conv(g, 'decoder.conv_in', x, channels[0] as number, { kernel: 3 })
  x = middle(g, 'decoder.mid_block', x, groups, weights)
  for (const [index, out] of channels.entries()) {
    const key = `decoder.up_blocks.${index}`
    for (let layer = 0; layer <= config.layers_per_block; layer++) {
      x = resnet(g, `${key}.resnets.${layer}`, x, { out, groups, epsilon })
    }
    if (index < channels.length - 1) {
      const [, , height, width] = x.dims as [number, number, number, number]
      x = upsample(g, `${key}.upsamplers.0`, x, height * 2, width * 2)
    }
  }
  x = silu(g, groupNorm(g, 'decoder.conv_norm_out', x, groups, epsilon))
  g.output('picture', conv(g, 'decoder.conv_out', x, config.out_channels, { kernel: 3 }))
  weights.assertAllTaken(encoderKeys)
  return g.serialize()
}

/** Whether the file can make latents from pictures: text-to-image needs the decoder only. */
export function hasEncoder(weights: WeightSource): boolean {
  return weights.has('encoder.conv_in.weight')
}

/**
 * Input `picture` [1, 3, H, W], -1 to 1, both sides multiples of the scale. Output `moments`
 * [1, 2 * latent_channels, H / scale, W / scale]: the means of the latents, then the logarithms of their
 * variances, neither scaled.
 * @throws CheckpointError if the VAE has no encoder
 */
export function vaeEncoderGraph(
  config: VaeConfig,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  if (!hasEncoder(weights)) {
    throw new CheckpointError(
      `${weights.fileName}: the VAE has no encoder (no weight "encoder.conv_in.weight"), so no picture can go ` +
        'in; use a VAE file that has one',
    )
  }
  const g = new Graph('vae-encoder', weights, options)
  const channels = config.block_out_channels
  const groups = config.norm_num_groups
  const moments = 2 * config.latent_channels
  const picture = g.input('picture', [1, pictureChannels, height, width])

  let x = conv(g, 'encoder.conv_in', picture, channels[0] as number, { kernel: 3 })
  for (const [index, out] of channels.entries()) {
    const key = `encoder.down_blocks.${index}`
    for (let layer = 0; layer < config.layers_per_block; layer++) {
      x = resnet(g, `${key}.resnets.${layer}`, x, { out, groups, epsilon })
    }
    if (index < channels.length - 1) {
      // trained with one row and one column of zeros below and to the right, and none on the other sides
      const pads = [0, 0, 1, 1] as const
      x = conv(g, `${key}.downsamplers.0.conv`, x, out, { kernel: 3, stride: 2, pads })
    }
  }
  x = middle(g, 'encoder.mid_block', x, groups, weights)
  x = silu(g, groupNorm(g, 'encoder.conv_norm_out', x, groups, epsilon))
  x = conv(g, 'encoder.conv_out', x, moments, { kernel: 3 })
  g.output('moments', conv(g, 'quant_conv', x, moments, { kernel: 1 }))
  weights.assertAllTaken(decoderKeys)
  return g.serialize()
}

function middle(g: Graph, key: string, x: Value, groups: number, weights: WeightSource): Value {
  const options = { out: x.dims[1] as number, groups, epsilon }
  const before = resnet(g, `${key}.resnets.0`, x, options)
  const attended = selfAttention(g, `${key}.attentions.0`, before, groups, weights)
  return resnet(g, `${key}.resnets.1`, attended, options)
}

/** One head over all positions. Checkpoints before diffusers 0.18 name the projections otherwise. */
function selfAttention(g: Graph, key: string, x: Value, groups: number, weights: WeightSource): Value {
  const names = weights.has(`${key}.query.weight`)
    ? (['query', 'key', 'value', 'proj_attn'] as const)
    : (['to_q', 'to_k', 'to_v', 'to_out.0'] as const)
  const rows = toRows(g, groupNorm(g, `${key}.group_norm`, x, groups, epsilon))
  const [q, k, v] = names.slice(0, 3).map((name) => projection(g, `${key}.${name}`, rows)) as [
    Value,
    Value,
    Value,
  ]
  const mixed = attention(g, q, k, v, { batch: x.dims[0] as number, heads: 1 })
  return add(g, toPicture(g, projection(g, `${key}.${names[3]}`, mixed), x), x)
}

/** Linear layers in diffusers' layout, 1x1 convolutions in single files. */
function projection(g: Graph, key: string, rows: Value): Value {
  const channels = rows.dims[1] as number
  return g.storedRank(`${key}.weight`) === 4
    ? pointwise(g, key, rows, channels)
    : linear(g, key, rows, channels)
}
