import { Graph, type Value, type WeightSource } from '../graph/graph.ts'
import {
  add,
  attention,
  conv,
  groupNorm,
  linear,
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

/** Keys of the half that makes latents from pictures; the decoder has no use for them. */
const encoderKeys = ['encoder.', 'quant_conv.']

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
): Uint8Array {
  const g = new Graph('vae-decoder', weights)
  const channels = config.block_out_channels.toReversed()
  const groups = config.norm_num_groups
  const widest = channels[0] as number
  const latent = g.input('latent', [1, config.latent_channels, height, width])

  let x = conv(g, 'post_quant_conv', latent, config.latent_channels, { kernel: 1 })
  x = conv(g, 'decoder.conv_in', x, widest, { kernel: 3 })
  x = resnet(g, 'decoder.mid_block.resnets.0', x, { out: widest, groups, epsilon })
  x = selfAttention(g, 'decoder.mid_block.attentions.0', x, groups, weights)
  x = resnet(g, 'decoder.mid_block.resnets.1', x, { out: widest, groups, epsilon })
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

/** One head over all positions. Checkpoints before diffusers 0.18 name the projections otherwise. */
function selfAttention(g: Graph, key: string, x: Value, groups: number, weights: WeightSource): Value {
  const channels = x.dims[1] as number
  const names = weights.has(`${key}.query.weight`)
    ? (['query', 'key', 'value', 'proj_attn'] as const)
    : (['to_q', 'to_k', 'to_v', 'to_out.0'] as const)
  const rows = toRows(g, groupNorm(g, `${key}.group_norm`, x, groups, epsilon))
  const [q, k, v] = names.slice(0, 3).map((name) => linear(g, `${key}.${name}`, rows, channels)) as [
    Value,
    Value,
    Value,
  ]
  const mixed = attention(g, q, k, v, { batch: x.dims[0] as number, heads: 1 })
  return add(g, toPicture(g, linear(g, `${key}.${names[3]}`, mixed, channels), x), x)
}
