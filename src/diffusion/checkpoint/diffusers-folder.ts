import { access, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigFile } from '../config-file.ts'
import { CheckpointError, refused } from '../errors.ts'
import type { ClipTextConfig } from '../models/clip-text.ts'
import type { UnetConfig } from '../models/unet.ts'
import type { VaeConfig } from '../models/vae.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import type { NoiseConfig } from '../samplers/noise-levels.ts'
import { type Architecture, checkArchitecture } from './architecture.ts'
import { type Beside, besideFolder, decidePrediction } from './beside.ts'
import { families, familyOfWidth } from './families.ts'
import { refusal } from './kinds.ts'

/** A model in diffusers layout: one folder per part, with its config and its weights. */
export interface DiffusersFolder {
  readonly path: string
  readonly beside: Beside
  readonly architecture: Architecture
  readonly text: SafetensorsFile
  readonly unet: SafetensorsFile
  readonly vae: SafetensorsFile
}

/** @throws CheckpointError naming the file and the field or key at fault */
export async function openDiffusersFolder(path: string): Promise<DiffusersFolder> {
  const beside = await besideFolder(path)
  const { architecture, remarks } = await readConfigs(path, beside)
  const [text, unet, vae] = await Promise.all([
    openWeights(join(path, 'text_encoder'), 'model'),
    openWeights(join(path, 'unet'), 'diffusion_pytorch_model'),
    openWeights(join(path, 'vae'), 'diffusion_pytorch_model'),
  ])
  const remarked = { ...beside, remarks: [...beside.remarks, ...remarks] }
  return { path, architecture, beside: remarked, text, unet, vae }
}

const incomplete = 'the model is incomplete; its download or copy may not have finished'

/** Prefers full precision to half if a folder has both. */
async function openWeights(folder: string, stem: string): Promise<SafetensorsFile> {
  for (const name of [`${stem}.safetensors`, `${stem}.fp16.safetensors`]) {
    if (await exists(join(folder, name))) return openSafetensors(join(folder, name))
  }
  // such as pytorch_model.bin
  const names = (await readdir(folder).catch(() => [])).sort()
  const foreign = names.find((name) => foreignName(name) !== undefined)
  if (foreign !== undefined) throw refused(join(folder, foreign), foreignName(foreign) as string)
  throw new CheckpointError(`${join(folder, `${stem}.safetensors`)}: the file is missing`, {
    reason: incomplete,
  })
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Reads and checks the configs only, not the weights. */
export async function readArchitecture(path: string): Promise<Architecture> {
  return (await readConfigs(path, await besideFolder(path))).architecture
}

async function readConfigs(
  path: string,
  beside: Beside,
): Promise<{ readonly architecture: Architecture; readonly remarks: readonly string[] }> {
  const index = await ConfigFile.read(join(path, 'model_index.json'))
  index.oneOf('_class_name', [
    'StableDiffusionPipeline',
    'StableDiffusionImg2ImgPipeline',
    'StableDiffusionInpaintPipeline',
  ])
  const [text, unet, vae, scheduler] = await Promise.all(
    [
      'text_encoder/config.json',
      'unet/config.json',
      'vae/config.json',
      'scheduler/scheduler_config.json',
    ].map((name) => ConfigFile.read(join(path, name))),
  )
  const architecture = {
    text: textConfig(text!),
    unet: unetConfig(unet!),
    vae: vaeConfig(vae!),
    noise: noiseConfig(scheduler!, path, beside),
    sampleSize: sampleSize(unet!),
  }
  const family = familyOfWidth(architecture.unet.cross_attention_dim)
  const fault = refusal('model', { kind: 'model', family, description: families[family].name })
  if (fault !== undefined) throw refused(path, fault)
  checkArchitecture(architecture, path)
  return {
    architecture,
    remarks: [...unknownSettings(unet!, idle.unet), ...unknownSettings(vae!, idle.vae)],
  }
}

/** Settings that change nothing here: of training, of precision, or of layers that are refused if they are there. */
const idle = {
  unet: [
    'dropout',
    'upcast_attention',
    'attention_type',
    'addition_embed_type_num_heads',
    'addition_time_embed_dim',
    'projection_class_embeddings_input_dim',
  ],
  vae: ['force_upcast', 'sample_size'],
}

/** A setting that nobody here knows may come with a newer version: the weights are accounted for all the same. */
function unknownSettings(file: ConfigFile, harmless: readonly string[]): string[] {
  return file
    .notAskedFor(harmless)
    .slice(0, 10)
    .map(
      (name) =>
        `${file.path}: the setting ${JSON.stringify(name.slice(0, 60))} is not known, and is passed over`,
    )
}

/** Trained on pictures of one size; null if its author did not say. */
function sampleSize(unet: ConfigFile): number {
  return unet.isNull('sample_size') ? 64 : unet.integer('sample_size', 64)
}

function textConfig(file: ConfigFile): ClipTextConfig {
  file.refuse('model_type', 'clip_text_model', 'clip')
  return {
    hidden_size: file.integer('hidden_size'),
    intermediate_size: file.integer('intermediate_size'),
    num_attention_heads: file.integer('num_attention_heads'),
    num_hidden_layers: file.integer('num_hidden_layers'),
    max_position_embeddings: file.integer('max_position_embeddings', 77),
    hidden_act: file.oneOf('hidden_act', ['quick_gelu', 'gelu'], 'quick_gelu'),
    layer_norm_eps: file.number('layer_norm_eps', 1e-5),
  }
}

function unetConfig(file: ConfigFile): UnetConfig {
  file.refuse('_class_name', 'UNet2DConditionModel')
  file.refuse('act_fn', 'silu')
  file.refuse('mid_block_type', 'UNetMidBlock2DCrossAttn')
  file.refuse('downsample_padding', 1)
  file.refuse('mid_block_scale_factor', 1)
  file.refuse('transformer_layers_per_block', 1)
  file.refuse('conv_in_kernel', 3)
  file.refuse('conv_out_kernel', 3)
  file.refuse('resnet_out_scale_factor', 1)
  file.refuse('attention_type', 'default', null)
  file.refuse('resnet_time_scale_shift', 'default')
  file.refuse('time_embedding_type', 'positional')
  for (const field of [
    'center_input_sample',
    'dual_cross_attention',
    'only_cross_attention',
    'resnet_skip_time_act',
    'class_embeddings_concat',
    'mid_block_only_cross_attention',
    'use_linear_projection',
  ]) {
    file.refuse(field, false, null)
  }
  for (const field of [
    'addition_embed_type',
    'class_embed_type',
    'cross_attention_norm',
    'encoder_hid_dim',
    'encoder_hid_dim_type',
    'num_attention_heads',
    'num_class_embeds',
    'reverse_transformer_layers_per_block',
    'time_cond_proj_dim',
    'time_embedding_act_fn',
    'time_embedding_dim',
    'timestep_post_act',
  ]) {
    file.refuse(field)
  }
  const channels = file.integers('block_out_channels')
  const down = file.listOf('down_block_types', ['CrossAttnDownBlock2D', 'DownBlock2D'])
  const up = file.listOf('up_block_types', ['CrossAttnUpBlock2D', 'UpBlock2D'])
  if (down.length !== channels.length || up.length !== channels.length) {
    throw new CheckpointError(
      `${file.path}: "down_block_types", "up_block_types" and "block_out_channels" differ in length`,
    )
  }
  return {
    in_channels: file.integer('in_channels', 4),
    out_channels: file.integer('out_channels', 4),
    block_out_channels: channels,
    down_block_types: down,
    up_block_types: up,
    layers_per_block: file.integer('layers_per_block', 2),
    cross_attention_dim: file.integer('cross_attention_dim'),
    heads: attentionHeads(file, channels.length),
    norm_num_groups: file.integer('norm_num_groups', 32),
    norm_eps: file.number('norm_eps', 1e-5),
    flip_sin_to_cos: file.boolean('flip_sin_to_cos', true),
    freq_shift: file.number('freq_shift', 0),
  }
}

/** One number for all levels (SD 1.x), or a list with one number per level (SD 2.x). */
function attentionHeads(file: ConfigFile, levels: number): readonly number[] {
  const single = file.single('attention_head_dim')
  const heads = single
    ? Array<number>(levels).fill(file.integer('attention_head_dim', 8))
    : file.integers('attention_head_dim')
  if (heads.length !== levels) {
    throw new CheckpointError(
      `${file.path}: "attention_head_dim" needs ${levels} numbers, but has ${heads.length}`,
    )
  }
  return heads
}

function vaeConfig(file: ConfigFile): VaeConfig {
  if (file.says('_class_name', 'AutoencoderTiny')) {
    throw refused(file.path, 'its VAE is a TAESD (a tiny one, for previews), which is not supported')
  }
  file.refuse('_class_name', 'AutoencoderKL')
  file.refuse('down_block_types', 'DownEncoderBlock2D')
  file.refuse('up_block_types', 'UpDecoderBlock2D')
  file.refuse('in_channels', 3)
  file.refuse('act_fn', 'silu')
  file.refuse('mid_block_add_attention', true)
  file.refuse('use_post_quant_conv', true)
  file.refuse('use_quant_conv', true)
  file.refuse('shift_factor')
  file.refuse('latents_mean')
  file.refuse('latents_std')
  return {
    latent_channels: file.integer('latent_channels', 4),
    out_channels: file.integer('out_channels', 3),
    block_out_channels: file.integers('block_out_channels'),
    layers_per_block: file.integer('layers_per_block', 1),
    norm_num_groups: file.integer('norm_num_groups', 32),
    scaling_factor: file.number('scaling_factor', 0.18215),
  }
}

function noiseConfig(file: ConfigFile, path: string, beside: Beside): NoiseConfig {
  file.refuse('trained_betas')
  return {
    num_train_timesteps: file.integer('num_train_timesteps', 1000),
    beta_start: file.number('beta_start', 0.00085),
    beta_end: file.number('beta_end', 0.012),
    beta_schedule: file.oneOf('beta_schedule', ['linear', 'scaled_linear'], 'scaled_linear'),
    prediction_type: decidePrediction(path, beside, [
      {
        who: 'its scheduler',
        prediction: file.oneOf('prediction_type', ['epsilon', 'v_prediction'], 'epsilon'),
      },
    ]),
    rescale_betas_zero_snr: file.booleanOrNull('rescale_betas_zero_snr') ?? false,
  }
}
