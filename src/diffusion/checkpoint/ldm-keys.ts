import type { ClipTextConfig } from '../models/clip-text.ts'
import type { UnetConfig } from '../models/unet.ts'
import type { VaeConfig } from '../models/vae.ts'

/**
 * The keys of a model's parts: diffusers' name of each weight, and the name of the same weight in a single file in
 * the original layout (CompVis' latent-diffusion: openaimodel.py, modules/diffusionmodules/model.py; the
 * correspondence is that of diffusers' convert_ldm_unet_checkpoint and convert_ldm_vae_checkpoint). They are derived
 * from the architecture, so that every key of a file is accounted for without guessing.
 */
export type KeyPair = readonly [diffusers: string, ldm: string]

function* weights(diffusers: string, ldm: string): Generator<KeyPair> {
  yield [`${diffusers}.weight`, `${ldm}.weight`]
}

function* both(diffusers: string, ldm: string): Generator<KeyPair> {
  yield* weights(diffusers, ldm)
  yield [`${diffusers}.bias`, `${ldm}.bias`]
}

/** Names are without the prefix `model.diffusion_model.`. */
export function* unetKeys(config: UnetConfig): Generator<KeyPair> {
  const { block_out_channels: channels, layers_per_block: layers } = config
  yield* both('time_embedding.linear_1', 'time_embed.0')
  yield* both('time_embedding.linear_2', 'time_embed.2')
  yield* both('conv_in', 'input_blocks.0.0')

  // input blocks are numbered across all levels; a downsampler counts as one
  let number = 1
  let width = channels[0] as number
  const skips = [width]
  for (const [level, out] of channels.entries()) {
    const key = `down_blocks.${level}`
    for (let layer = 0; layer < layers; layer++, number++) {
      yield* unetResnet(`${key}.resnets.${layer}`, `input_blocks.${number}.0`, width !== out)
      if (config.down_block_types[level] === 'CrossAttnDownBlock2D') {
        yield* transformer(`${key}.attentions.${layer}`, `input_blocks.${number}.1`)
      }
      width = out
      skips.push(out)
    }
    if (level < channels.length - 1) {
      yield* both(`${key}.downsamplers.0.conv`, `input_blocks.${number}.0.op`)
      number += 1
      skips.push(out)
    }
  }

  yield* unetResnet('mid_block.resnets.0', 'middle_block.0', false)
  yield* transformer('mid_block.attentions.0', 'middle_block.1')
  yield* unetResnet('mid_block.resnets.1', 'middle_block.2', false)

  number = 0
  for (const [level, out] of channels.toReversed().entries()) {
    const key = `up_blocks.${level}`
    const attended = config.up_block_types[level] === 'CrossAttnUpBlock2D'
    for (let layer = 0; layer <= layers; layer++, number++) {
      const widened = width + (skips.pop() as number)
      yield* unetResnet(`${key}.resnets.${layer}`, `output_blocks.${number}.0`, widened !== out)
      if (attended) yield* transformer(`${key}.attentions.${layer}`, `output_blocks.${number}.1`)
      width = out
    }
    // an upsampler is the last member of its level's last block, after the attention if there is one
    if (level < channels.length - 1) {
      yield* both(`${key}.upsamplers.0.conv`, `output_blocks.${number - 1}.${attended ? 2 : 1}.conv`)
    }
  }
  yield* both('conv_norm_out', 'out.0')
  yield* both('conv_out', 'out.2')
}

function* unetResnet(diffusers: string, ldm: string, shortcut: boolean): Generator<KeyPair> {
  yield* both(`${diffusers}.norm1`, `${ldm}.in_layers.0`)
  yield* both(`${diffusers}.conv1`, `${ldm}.in_layers.2`)
  yield* both(`${diffusers}.time_emb_proj`, `${ldm}.emb_layers.1`)
  yield* both(`${diffusers}.norm2`, `${ldm}.out_layers.0`)
  yield* both(`${diffusers}.conv2`, `${ldm}.out_layers.3`)
  if (shortcut) yield* both(`${diffusers}.conv_shortcut`, `${ldm}.skip_connection`)
}

function* transformer(diffusers: string, ldm: string): Generator<KeyPair> {
  for (const name of ['norm', 'proj_in', 'proj_out']) yield* both(`${diffusers}.${name}`, `${ldm}.${name}`)
  const inner = 'transformer_blocks.0'
  for (const name of [
    'norm1',
    'norm2',
    'norm3',
    'attn1.to_out.0',
    'attn2.to_out.0',
    'ff.net.0.proj',
    'ff.net.2',
  ]) {
    yield* both(`${diffusers}.${inner}.${name}`, `${ldm}.${inner}.${name}`)
  }
  for (const attention of ['attn1', 'attn2']) {
    for (const name of ['to_q', 'to_k', 'to_v']) {
      yield* weights(`${diffusers}.${inner}.${attention}.${name}`, `${ldm}.${inner}.${attention}.${name}`)
    }
  }
}

/** Names are without the prefix `first_stage_model.`. */
export function* vaeDecoderKeys(config: VaeConfig): Generator<KeyPair> {
  const channels = config.block_out_channels.toReversed()
  let width = channels[0] as number
  yield* both('post_quant_conv', 'post_quant_conv')
  yield* both('decoder.conv_in', 'decoder.conv_in')
  yield* vaeMiddle('decoder')
  for (const [index, out] of channels.entries()) {
    const level = channels.length - 1 - index
    const key = `decoder.up_blocks.${index}`
    for (let layer = 0; layer <= config.layers_per_block; layer++) {
      yield* vaeResnet(`${key}.resnets.${layer}`, `decoder.up.${level}.block.${layer}`, width !== out)
      width = out
    }
    if (level > 0) yield* both(`${key}.upsamplers.0.conv`, `decoder.up.${level}.upsample.conv`)
  }
  yield* both('decoder.conv_norm_out', 'decoder.norm_out')
  yield* both('decoder.conv_out', 'decoder.conv_out')
}

/** Names are without the prefix `first_stage_model.`. */
export function* vaeEncoderKeys(config: VaeConfig): Generator<KeyPair> {
  const channels = config.block_out_channels
  let width = channels[0] as number
  yield* both('quant_conv', 'quant_conv')
  yield* both('encoder.conv_in', 'encoder.conv_in')
  for (const [level, out] of channels.entries()) {
    const key = `encoder.down_blocks.${level}`
    for (let layer = 0; layer < config.layers_per_block; layer++) {
      yield* vaeResnet(`${key}.resnets.${layer}`, `encoder.down.${level}.block.${layer}`, width !== out)
      width = out
    }
    if (level < channels.length - 1) {
      yield* both(`${key}.downsamplers.0.conv`, `encoder.down.${level}.downsample.conv`)
    }
  }
  yield* vaeMiddle('encoder')
  yield* both('encoder.conv_norm_out', 'encoder.norm_out')
  yield* both('encoder.conv_out', 'encoder.conv_out')
}

function* vaeMiddle(half: string): Generator<KeyPair> {
  yield* vaeResnet(`${half}.mid_block.resnets.0`, `${half}.mid.block_1`, false)
  yield* both(`${half}.mid_block.attentions.0.group_norm`, `${half}.mid.attn_1.norm`)
  yield* both(`${half}.mid_block.attentions.0.to_q`, `${half}.mid.attn_1.q`)
  yield* both(`${half}.mid_block.attentions.0.to_k`, `${half}.mid.attn_1.k`)
  yield* both(`${half}.mid_block.attentions.0.to_v`, `${half}.mid.attn_1.v`)
  yield* both(`${half}.mid_block.attentions.0.to_out.0`, `${half}.mid.attn_1.proj_out`)
  yield* vaeResnet(`${half}.mid_block.resnets.1`, `${half}.mid.block_2`, false)
}

function* vaeResnet(diffusers: string, ldm: string, shortcut: boolean): Generator<KeyPair> {
  for (const name of ['norm1', 'conv1', 'norm2', 'conv2'])
    yield* both(`${diffusers}.${name}`, `${ldm}.${name}`)
  if (shortcut) yield* both(`${diffusers}.conv_shortcut`, `${ldm}.nin_shortcut`)
}

/** Both names are transformers'; a single file written by an old trainer omits `text_model.`. */
export function* textKeys(config: ClipTextConfig, ldmRoot: string): Generator<KeyPair> {
  const same = function* (name: string, kind: typeof both = both): Generator<KeyPair> {
    yield* kind(`text_model.${name}`, `${ldmRoot}${name}`)
  }
  yield* same('embeddings.token_embedding', weights)
  yield* same('embeddings.position_embedding', weights)
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const name of ['layer_norm1', 'layer_norm2', 'mlp.fc1', 'mlp.fc2']) {
      yield* same(`encoder.layers.${layer}.${name}`)
    }
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
      yield* same(`encoder.layers.${layer}.self_attn.${name}`)
    }
  }
  yield* same('final_layer_norm')
}
