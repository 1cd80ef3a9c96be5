import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readArchitecture } from '../../../src/diffusion/checkpoint/diffusers-folder.ts'
import { type Content, readContent, type Tensor, type Tensors } from './variants.ts'

/**
 * A folder in diffusers layout as one file with LDM's key names: the same rules as ldm_layout.py, for models that
 * are too large to be kept in both forms. Only what Stable Diffusion 1.x has.
 */
export async function singleFileOf(folder: string): Promise<Content> {
  const { text, unet, vae, noise, sampleSize } = await readArchitecture(folder)
  const tensors: Tensors = new Map()
  const add = async (file: string, prefix: string, rename: (key: string) => string) => {
    for (const [key, tensor] of (await readContent(join(folder, file))).tensors) {
      const name = rename(key)
      tensors.set(prefix + name, asConvolution(name, tensor))
    }
  }
  await add('unet/diffusion_pytorch_model.safetensors', 'model.diffusion_model.', (key) =>
    unetName(key, unet.layers_per_block, unet.up_block_types),
  )
  await add('vae/diffusion_pytorch_model.safetensors', 'first_stage_model.', (key) =>
    vaeName(key, vae.block_out_channels.length),
  )
  await add('text_encoder/model.safetensors', 'cond_stage_model.transformer.', (key) => key)
  const architecture = {
    heads: unet.heads[0],
    groups: unet.norm_num_groups,
    text_heads: text.num_attention_heads,
    vae_groups: vae.norm_num_groups,
    scaling_factor: vae.scaling_factor,
    sample_size: sampleSize,
    prediction_type: noise.prediction_type,
  }
  const metadata = {
    format: 'pt',
    'packshot.architecture': JSON.stringify(architecture),
    'packshot.tokenizer': readFileSync(join(folder, 'tokenizer/tokenizer.json'), 'utf8'),
  }
  return { tensors, metadata }
}

const unetOutside: Readonly<Record<string, string>> = {
  'time_embedding.linear_1': 'time_embed.0',
  'time_embedding.linear_2': 'time_embed.2',
  conv_in: 'input_blocks.0.0',
  conv_norm_out: 'out.0',
  conv_out: 'out.2',
}

const unetResnet: Readonly<Record<string, string>> = {
  norm1: 'in_layers.0',
  conv1: 'in_layers.2',
  time_emb_proj: 'emb_layers.1',
  norm2: 'out_layers.0',
  conv2: 'out_layers.3',
  conv_shortcut: 'skip_connection',
}

const place =
  /^(down_blocks|up_blocks|mid_block)(?:\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$/

/** @param layers resnets in a down block; an up block has one more */
function unetName(key: string, layers: number, upBlocks: readonly string[]): string {
  const dot = key.lastIndexOf('.')
  const [name, end] = [key.slice(0, dot), key.slice(dot)]
  const outside = unetOutside[name]
  if (outside) return outside + end
  const [, side, blockText, kind, indexText, inner] = place.exec(name) as unknown as string[]
  const [block, index] = [Number(blockText ?? 0), Number(indexText)]
  const resnet = kind === 'resnets'
  const rest = (resnet ? unetResnet[inner as string] : inner) + end
  if (side === 'mid_block') return `middle_block.${resnet ? index * 2 : 1}.${rest}`
  if (kind === 'downsamplers') return `input_blocks.${(block + 1) * (layers + 1)}.0.op${end}`
  if (kind === 'upsamplers') {
    const second = upBlocks[block] === 'CrossAttnUpBlock2D' ? 2 : 1
    return `output_blocks.${block * (layers + 1) + layers}.${second}.${rest}`
  }
  const number = block * (layers + 1) + index
  const where = side === 'down_blocks' ? `input_blocks.${number + 1}` : `output_blocks.${number}`
  return `${where}.${resnet ? 0 : 1}.${rest}`
}

function vaeName(key: string, levels: number): string {
  const upwards = (block: string) => levels - 1 - Number(block)
  return key
    .replace('conv_norm_out', 'norm_out')
    .replace('conv_shortcut', 'nin_shortcut')
    .replace(/down_blocks\.(\d+)\.resnets\./, 'down.$1.block.')
    .replace(/down_blocks\.(\d+)\.downsamplers\.0\./, 'down.$1.downsample.')
    .replace(/up_blocks\.(\d+)\.resnets\./, (_, block) => `up.${upwards(block)}.block.`)
    .replace(/up_blocks\.(\d+)\.upsamplers\.0\./, (_, block) => `up.${upwards(block)}.upsample.`)
    .replace(/mid_block\.resnets\.(\d+)\./, (_, index) => `mid.block_${Number(index) + 1}.`)
    .replace('mid_block.attentions.0.group_norm.', 'mid.attn_1.norm.')
    .replace('mid_block.attentions.0.to_out.0.', 'mid.attn_1.proj_out.')
    .replace('mid_block.attentions.0.to_', 'mid.attn_1.')
}

/** LDM's VAE attends with 1x1 convolutions where diffusers has linear layers. */
function asConvolution(name: string, tensor: Tensor): Tensor {
  const matrix = /\.attn_1\.(q|k|v|proj_out)\.weight$/.test(name)
  return matrix ? { ...tensor, shape: [...tensor.shape, 1, 1] } : tensor
}
