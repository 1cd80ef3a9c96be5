import { refused } from '../errors.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'
import { type Architecture, checkArchitecture } from './architecture.ts'
import type { Beside } from './beside.ts'
import { averagedKey } from './family.ts'
import { textKeys, unetKeys, vaeDecoderKeys, vaeEncoderKeys } from './ldm-keys.ts'
import { checkLeftOver, hasLayer, partOf, type Source, view } from './part-view.ts'
import {
  noiseConfig,
  statedArchitecture,
  textConfig,
  unetConfig,
  vaeConfig,
} from './single-file-architecture.ts'
import type { Vae } from './vae-file.ts'

/** A model whose parts are views of one file in the original layout. */
export interface SingleFile {
  readonly architecture: Architecture
  readonly text: SafetensorsFile
  readonly unet: SafetensorsFile
  readonly vae: SafetensorsFile
}

/**
 * Keys that belong to no part and do not affect the picture: the noise schedule's buffers (computed here from betas),
 * leftovers of training (the moving average, losses, counters), CLIP's vision half, markers that are read elsewhere,
 * and position ids, which are 0 to 76 in every file.
 */
const harmless = [
  /^(betas|alphas_cumprod(_prev)?|(sqrt|log)_(one_minus_)?alphas_cumprod|sqrt_recipm?1?_alphas_cumprod)$/,
  /^(posterior_(variance|log_variance_clipped|mean_coef[12])|lvlb_weights|logvar|scale_factor)$/,
  /^(denoiser\.(log_)?sigmas|global_step|epoch|v_pred|ztsnr)$/,
  /^model_ema\.(decay|num_updates)$/,
  /^first_stage_model\.(loss|model_ema)\./,
  /^cond_stage_model\.transformer\.(text_model\.)?embeddings\.position_ids$/,
  /^cond_stage_model\.(transformer\.)?(vision_model\.|visual_projection|text_projection|logit_scale)/,
  /^embedding_manager\./,
  // other networks in the same file, which no picture needs
  /^(control_model|controlnet|safety_checker|adapter)\./,
]

/** Of no part of the model, whoever wrote them. */
const outside = /^(?!(model|model_ema|cond_stage_model|first_stage_model|vae)\.)/

/** Not harmless if the UNet itself is missing: then its average is used. */
const average = /^model_ema\.diffusion_model/

const unetPrefix = 'model.diffusion_model.'
const vaePrefixes = ['first_stage_model.', 'vae.']
const textPrefix = 'cond_stage_model.transformer.'

/**
 * @param file in the original layout, of the SD 1.x family (see `classify`)
 * @param vae used in place of the file's own
 * @throws CheckpointError naming the file and the key that is missing, unused or of a wrong dtype or shape
 */
export function openSingleFile(file: SafetensorsFile, beside: Beside, vae?: Vae): SingleFile {
  const stated = statedArchitecture(file)
  const used = new Set<string>()

  // the weights themselves are preferred to their moving average, as in diffusers
  const current = partOf(file, (name) => unetPrefix + name)
  const averaged = partOf(file, averagedKey)
  const onlyAveraged = !hasLayer(current, 'input_blocks.0.0') && hasLayer(averaged, 'input_blocks.0.0')
  const unet = onlyAveraged ? averaged : current
  const unetNumbers = unetConfig(unet, stated)
  const unetView = view(file, unet, unetKeys(unetNumbers), used)

  const text = textSource(file)
  const textNumbers = textConfig(text, stated)
  const textView = view(file, text, textKeys(textNumbers, ''), used)

  // its keys are accounted for even if a different VAE is used
  const own = ownVae(file, used)
  const chosen = vae ?? own
  if (!chosen) {
    throw refused(
      file.path,
      'the file has no VAE of its own; put one into vae/ in the models folder, or specify a VAE file',
    )
  }
  const architecture = {
    text: textNumbers,
    unet: unetNumbers,
    vae: chosen.config,
    noise: noiseConfig(file, stated, beside),
    sampleSize: stated.integer('sample_size', 64),
  }
  checkArchitecture(architecture, file.path)
  checkLeftOver(file, used, onlyAveraged ? [...harmless, outside] : [...harmless, outside, average])
  return { architecture, text: textView, unet: unetView, vae: chosen.file }
}

/** Tensors whose names nobody here knows, outside the parts of the model: they are passed over. */
export function strangeKeys({ tensors }: Pick<SafetensorsFile, 'tensors'>): string[] {
  return [...tensors.keys()].filter((key) => outside.test(key) && !harmless.some((each) => each.test(key)))
}

/** Whether a file in the original layout comes with a VAE. */
export function hasVae(file: SafetensorsFile): boolean {
  return vaePrefixes.some((prefix) =>
    hasLayer(
      partOf(file, (name) => prefix + name),
      'decoder.conv_in',
    ),
  )
}

function ownVae(file: SafetensorsFile, used: Set<string>): Vae | undefined {
  const sources = vaePrefixes.map((prefix) => partOf(file, (name) => prefix + name))
  const source = sources.find((each) => hasLayer(each, 'decoder.conv_in'))
  if (!source) return undefined
  const config = vaeConfig(source, statedArchitecture(file))
  const keys = [...vaeDecoderKeys(config)]
  // text-to-image works without an encoder
  if (hasLayer(source, 'encoder.conv_in')) keys.push(...vaeEncoderKeys(config))
  return { config, file: view(file, source, keys, used) }
}

/** Trainers that used an old version of transformers omitted `text_model.`. */
function textSource(file: SafetensorsFile): Source {
  const current = partOf(file, (name) => `${textPrefix}text_model.${name}`)
  const old = partOf(file, (name) => textPrefix + name)
  return !hasLayer(current, 'final_layer_norm') && hasLayer(old, 'final_layer_norm') ? old : current
}
