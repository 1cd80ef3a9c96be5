import { ConfigFile } from '../config-file.ts'
import { CheckpointError, refused } from '../errors.ts'
import type { ClipTextConfig } from '../models/clip-text.ts'
import type { UnetConfig } from '../models/unet.ts'
import type { VaeConfig } from '../models/vae.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'
import type { NoiseConfig } from '../samplers/noise-levels.ts'
import { type Beside, decidePrediction, predictionCalled, type Statement } from './beside.ts'
import { hasLayer, incomplete, type Source } from './part-view.ts'

/**
 * The architecture of a single file, from the shapes of its weights. What shapes do not show (heads, groups) is taken
 * from Stable Diffusion 1.5, unless the file's metadata specifies it under `packshot.architecture`.
 */

/** What the file's metadata adds to its shapes: an object of numbers, see `unetConfig` and the others below. */
export function statedArchitecture({ path, metadata }: SafetensorsFile): ConfigFile {
  const text = metadata.get('packshot.architecture')
  return ConfigFile.parse(`${path} (packshot.architecture)`, text ?? '{}')
}

/** @throws CheckpointError if the weight is missing or has a different number of axes */
function shapeOf({ path, keyOf, find }: Source, name: string, axes: number): readonly number[] {
  const tensor = find(name)
  if (!tensor) {
    throw new CheckpointError(`${path}: weight "${keyOf(name)}" is missing`, { reason: incomplete })
  }
  if (tensor.shape.length !== axes || tensor.shape.includes(0)) {
    throw new CheckpointError(
      `${path}: weight "${tensor.key}" has shape [${tensor.shape.join(', ')}]; it must have ${axes} axes, none of them 0`,
    )
  }
  return tensor.shape
}

export function unetConfig(source: Source, stated: ConfigFile): UnetConfig {
  const [, inChannels] = shapeOf(source, 'input_blocks.0.0.weight', 4) as [number, number]
  const [outChannels] = shapeOf(source, 'out.2.weight', 4) as [number]
  const levels = downLevels(source)
  const layers = levels[0]?.layers as number
  const attended = levels.findIndex((level) => level.attended)
  if (levels.some((level) => level.layers !== layers) || attended === -1) {
    throw new CheckpointError(`${source.path}: the UNet's structure differs from Stable Diffusion 1.x's`)
  }
  const first = 1 + attended * (layers + 1)
  const key = `input_blocks.${first}.1.transformer_blocks.0.attn2.to_k.weight`
  const upAttended = levels.map((_, level) =>
    hasLayer(source, `output_blocks.${level * (layers + 1)}.1.norm`),
  )
  return {
    in_channels: inChannels,
    out_channels: outChannels,
    block_out_channels: levels.map((level) => level.channels),
    down_block_types: levels.map((level) => (level.attended ? 'CrossAttnDownBlock2D' : 'DownBlock2D')),
    up_block_types: upAttended.map((attended) => (attended ? 'CrossAttnUpBlock2D' : 'UpBlock2D')),
    layers_per_block: layers,
    cross_attention_dim: (shapeOf(source, key, 2) as [number, number])[1],
    heads: levels.map(() => stated.integer('heads', 8)),
    norm_num_groups: stated.integer('groups', 32),
    norm_eps: 1e-5,
    flip_sin_to_cos: true,
    freq_shift: 0,
  }
}

interface Level {
  readonly channels: number
  readonly layers: number
  readonly attended: boolean
}

/** input_blocks.0 is the first convolution; residual blocks follow, and a downsampler (`op`) ends each level. */
function downLevels(source: Source): Level[] {
  const levels: Level[] = []
  let number = 1
  do {
    const begin = number
    const attended = hasLayer(source, `input_blocks.${number}.1.norm`)
    const [channels] = shapeOf(source, `input_blocks.${number}.0.in_layers.2.weight`, 4) as [number]
    do number += 1
    while (hasLayer(source, `input_blocks.${number}.0.in_layers.2`))
    levels.push({ channels, layers: number - begin, attended })
    number += 1
  } while (hasLayer(source, `input_blocks.${number - 1}.0.op`))
  return levels
}

/** @param source names in the original layout, such as `decoder.up.0.block.0.conv1.weight` */
export function vaeConfig(source: Source, stated: ConfigFile): VaeConfig {
  const [, latentChannels] = shapeOf(source, 'decoder.conv_in.weight', 4) as [number, number]
  const [outChannels] = shapeOf(source, 'decoder.conv_out.weight', 4) as [number]
  const count = (name: (index: number) => string): number => {
    let index = 0
    while (hasLayer(source, name(index))) index += 1
    return index
  }
  const levels = count((level) => `decoder.up.${level}.block.0.conv1`)
  const blocks = count((block) => `decoder.up.0.block.${block}.conv1`)
  const channels = Array.from(
    { length: Math.max(levels, 1) },
    (_, level) => shapeOf(source, `decoder.up.${level}.block.0.conv1.weight`, 4)[0] as number,
  )
  return {
    latent_channels: latentChannels,
    out_channels: outChannels,
    block_out_channels: channels,
    // the decoder has one more block per level than the encoder
    layers_per_block: blocks - 1,
    norm_num_groups: stated.integer('vae_groups', stated.integer('groups', 32)),
    scaling_factor: stated.number('scaling_factor', 0.18215),
  }
}

/** CLIP's attention heads are 64 wide in all its sizes. */
const clipHeadWidth = 64

/** @param source names as in `embeddings.token_embedding.weight` */
export function textConfig(source: Source, stated: ConfigFile): ClipTextConfig {
  const [, hidden] = shapeOf(source, 'embeddings.token_embedding.weight', 2) as [number, number]
  const [positions] = shapeOf(source, 'embeddings.position_embedding.weight', 2) as [number]
  const [intermediate] = shapeOf(source, 'encoder.layers.0.mlp.fc1.weight', 2) as [number]
  let layers = 1
  while (hasLayer(source, `encoder.layers.${layers}.mlp.fc1`)) layers += 1
  return {
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_attention_heads: stated.integer('text_heads', Math.max(1, Math.floor(hidden / clipHeadWidth))),
    num_hidden_layers: layers,
    max_position_embeddings: positions,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 1e-5,
  }
}

/**
 * Stable Diffusion 1.x's noise schedule. What the model predicts is stated in the file's metadata
 * (`packshot.architecture`, or Stability's ModelSpec 1.0.1: `modelspec.prediction_type`), by the key `v_pred` that
 * community files use, or beside the file; their key `ztsnr` says that it was trained with zero terminal SNR.
 */
export function noiseConfig(
  { path, metadata, tensors }: SafetensorsFile,
  stated: ConfigFile,
  beside: Beside,
): NoiseConfig {
  const own = stated.oneOf('prediction_type', ['epsilon', 'v_prediction', 'absent'], 'absent')
  const statements =
    own === 'absent'
      ? [
          specified(path, metadata.get('modelspec.prediction_type')),
          tensors.has('v_pred')
            ? ({ who: '"v_pred" in the file', prediction: 'v_prediction' } as const)
            : undefined,
          beside.prediction,
        ]
      : [{ who: 'the file', prediction: own }]
  return {
    num_train_timesteps: 1000,
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    prediction_type: decidePrediction(path, beside, statements),
    rescale_betas_zero_snr: tensors.has('ztsnr'),
  }
}

function specified(path: string, value: string | undefined): Statement | undefined {
  if (value === undefined || value.trim() === '') return undefined
  const prediction = predictionCalled(value)
  if (prediction !== undefined) return { who: '"modelspec.prediction_type" in the file', prediction }
  throw refused(path, `the file says that it predicts "${value.slice(0, 40)}", which is not supported`)
}
