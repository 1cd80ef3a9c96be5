import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import type { WeightSource } from '../src/diffusion/graph/graph.ts'
import { type ClipTextConfig, clipTextGraph } from '../src/diffusion/models/clip-text.ts'
import { type UnetConfig, unetGraph } from '../src/diffusion/models/unet.ts'
import { type VaeConfig, vaeDecoderGraph } from '../src/diffusion/models/vae.ts'
import { TorchGenerator } from '../src/diffusion/random/torch-normal.ts'
import type { StoredTensor } from '../src/diffusion/safetensors/safetensors.ts'

/**
 * Writes a checkpoint in diffusers layout with random weights in fp16: its pictures are worthless, but keys, shapes, bytes and work are
 * those of a real one of that size, by default Stable Diffusion 1.5's. The VAE's encoder is left out: text-to-image does not need it.
 *
 *   node scripts/random-checkpoint.ts <folder>
 */

/** What a checkpoint is made of. */
export interface Sizes {
  readonly text: ClipTextConfig & { readonly vocab_size: number }
  readonly unet: UnetConfig
  readonly vae: VaeConfig
  /** Of the latents that the model is for. */
  readonly sampleSize: number
}

const text: Sizes['text'] = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_attention_heads: 12,
  num_hidden_layers: 12,
  max_position_embeddings: 77,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  vocab_size: 49408,
}

const unet: UnetConfig = {
  in_channels: 4,
  out_channels: 4,
  block_out_channels: [320, 640, 1280, 1280],
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  layers_per_block: 2,
  cross_attention_dim: 768,
  heads: [8, 8, 8, 8],
  norm_num_groups: 32,
  norm_eps: 1e-5,
  flip_sin_to_cos: true,
  freq_shift: 0,
}

const vae: VaeConfig = {
  latent_channels: 4,
  out_channels: 3,
  block_out_channels: [128, 256, 512, 512],
  layers_per_block: 2,
  norm_num_groups: 32,
  scaling_factor: 0.18215,
}

const fullSize: Sizes = { text, unet, vae, sampleSize: 64 }

const scheduler = {
  _class_name: 'PNDMScheduler',
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  prediction_type: 'epsilon',
}

/** Takes the place of a file and records the weights that a graph requests. */
class Recorder implements WeightSource {
  readonly fileName = 'recorded'
  readonly shapes = new Map<string, readonly number[]>()
  readonly #text: Sizes['text']

  constructor({ text }: Sizes) {
    this.#text = text
  }

  /** As it is stored by diffusers, and nothing in eight bits. */
  has(key: string): boolean {
    return key.startsWith('text_model.') && !key.includes(':')
  }

  shape(key: string): readonly number[] {
    if (key.endsWith('token_embedding.weight')) return [this.#text.vocab_size, this.#text.hidden_size]
    return [0, 0, 1, 1] // projections are 1x1 convolutions in SD 1.x
  }

  take(key: string, shape: readonly number[]): StoredTensor {
    this.shapes.set(key, shape)
    return { key, dtype: 'F16', shape, offset: 0, length: 0 }
  }

  numbers({ shape }: StoredTensor): Float32Array {
    return new Float32Array(shape.reduce((product, dim) => product * dim, 1))
  }

  assertAllTaken(): void {}
}

/** Writes the folder; about 2.06 GB in full size. The tokenizer is copied from a folder that has one. */
export async function writeRandomCheckpoint(
  folder: string,
  tokenizer: string,
  sizes: Sizes = fullSize,
): Promise<void> {
  const { text, unet, vae, sampleSize: size } = sizes
  const recorders = {
    text_encoder: new Recorder(sizes),
    unet: new Recorder(sizes),
    vae: new Recorder(sizes),
  }
  clipTextGraph(text, recorders.text_encoder, 1)
  unetGraph(unet, recorders.unet, { batch: 1, height: size, width: size, tokens: 77 })
  vaeDecoderGraph(vae, recorders.vae, size, size)

  const { heads, ...unetFields } = unet
  const json = async (name: string, value: object) => {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), JSON.stringify(value, null, 2))
  }
  await json('text_encoder/config.json', text)
  await json('unet/config.json', { ...unetFields, attention_head_dim: heads[0], sample_size: size })
  await json('vae/config.json', vae)
  await json('scheduler/scheduler_config.json', scheduler)
  await mkdir(join(folder, 'tokenizer'), { recursive: true })
  await copyFile(join(tokenizer, 'tokenizer.json'), join(folder, 'tokenizer/tokenizer.json'))
  await writeWeights(join(folder, 'text_encoder/model.safetensors'), recorders.text_encoder.shapes)
  await writeWeights(join(folder, 'unet/diffusion_pytorch_model.safetensors'), recorders.unet.shapes)
  await writeWeights(join(folder, 'vae/diffusion_pytorch_model.safetensors'), recorders.vae.shapes)
  // written last: a folder without it is unfinished
  await json('model_index.json', { _class_name: 'StableDiffusionPipeline' })
}

async function writeWeights(file: string, shapes: ReadonlyMap<string, readonly number[]>): Promise<void> {
  const elements = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1)
  const header: Record<string, object> = {}
  let offset = 0
  for (const [key, shape] of shapes) {
    if (elements(shape) === 0) throw new Error(`${key} is recorded without numbers: [${shape.join(', ')}]`)
    const end = offset + elements(shape) * 2
    header[key] = { dtype: 'F16', shape, data_offsets: [offset, end] }
    offset = end
  }
  const bytes = Buffer.from(JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(bytes.length))
  const out = createWriteStream(file)
  out.write(prefix)
  out.write(bytes)
  const noise = new TorchGenerator(0).randn(blockLength)
  const blocks = new Map<number | 'ones', Float16Array>()
  for (const [index, [key, shape]] of [...shapes].entries()) {
    const scale = scaleOf(key, shape)
    const block = blocks.get(scale) ?? filledBlock(noise, scale)
    blocks.set(scale, block)
    let start = (index * blockStep) % blockLength
    for (let left = elements(shape); left > 0; ) {
      const taken = Math.min(left, blockLength - start)
      if (!out.write(Buffer.from(block.buffer, start * 2, taken * 2))) await once(out, 'drain')
      left -= taken
      start = 0
    }
  }
  out.end()
  await once(out, 'finish')
}

/**
 * The same million numbers, repeated, are random enough for timing. Each tensor begins at another of them: ONNX Runtime
 * keeps packed weights that are equal only once, which those of a real model never are.
 */
const blockLength = 1 << 20
const blockStep = 7919

/** Norm weights are 1, biases 0, the rest scaled by fan-in: activations stay of order 1. */
function scaleOf(key: string, shape: readonly number[]): number | 'ones' {
  if (key.endsWith('.bias')) return 0
  if (shape.length === 1) return 'ones'
  return 1 / Math.sqrt(shape.slice(1).reduce((product, dim) => product * dim, 1))
}

function filledBlock(noise: Float32Array, scale: number | 'ones'): Float16Array {
  const block = new Float16Array(blockLength)
  if (scale === 'ones') return block.fill(1)
  for (let i = 0; i < blockLength; i++) block[i] = noise[i]! * scale
  return block
}

if (import.meta.main) {
  const { positionals } = parseArgs({ allowPositionals: true })
  const folder = positionals[0]
  if (!folder) throw new Error('usage: node scripts/random-checkpoint.ts <folder>')
  await writeRandomCheckpoint(folder, join(import.meta.dirname, '../test/golden/tiny-sd/tokenizer'))
}
