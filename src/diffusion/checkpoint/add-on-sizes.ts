import { scaleOf, workOf } from '../models/upscaler.ts'
import { vaeScale } from '../models/vae.ts'
import { vectorsOf } from '../prompt/textual-inversion.ts'
import { refusal } from './kinds.ts'
import type { Checkpoint } from './model.ts'
import { tinyVaeOf } from './tiny-vae-file.ts'
import { upscalerOf } from './upscaler-file.ts'
import { vaeOf } from './vae-file.ts'

/** Sizes by which an add-on is compared with models. A LoRA's are in `Classified.lora`. */
export interface AddOnSizes {
  readonly vae?: VaeSizes
  readonly upscaler?: UpscalerSizes
  /** Length of an embedding's vectors. */
  readonly vectorWidth?: number
}

/** Of the latents between UNet and VAE. */
export interface VaeSizes {
  readonly channels: number
  /** Pixels per latent, in each direction. */
  readonly scale: number
}

interface UpscalerSizes {
  /** How many times as wide and high a picture becomes. */
  readonly scale: number
  /** Its work for a pixel of the picture that goes in, in millions of multiplications. */
  readonly work: number
}

/** Undefined for a model, and for what is refused anyway. @throws CheckpointError if no model can use the file */
export function addOnSizes(checkpoint: Checkpoint): AddOnSizes | undefined {
  const { path, classified } = checkpoint
  if (
    !('file' in checkpoint) ||
    refusal(classified.kind === 'other' ? 'model' : classified.kind, classified)
  ) {
    return undefined
  }
  if (classified.kind === 'vae') {
    const { config } = vaeOf(path, checkpoint.file)
    return { vae: { channels: config.latent_channels, scale: vaeScale(config) } }
  }
  if (classified.kind === 'tiny_vae') return { vae: tinyVaeOf(path, checkpoint.file).sizes }
  if (classified.kind === 'upscaler') {
    const { config, file } = upscalerOf(path, checkpoint.file)
    return { upscaler: { scale: scaleOf(config), work: workOf(config, file) } }
  }
  if (classified.kind === 'embedding')
    return { vectorWidth: vectorsOf(path, checkpoint.file).shape[1] as number }
  return undefined
}
