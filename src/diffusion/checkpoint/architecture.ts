import { refused } from '../errors.ts'
import type { ClipTextConfig } from '../models/clip-text.ts'
import type { UnetConfig } from '../models/unet.ts'
import type { VaeConfig } from '../models/vae.ts'
import type { NoiseConfig } from '../samplers/noise-levels.ts'

/** The architecture of a model in numbers, as its folder states them or as the shapes of its single file imply them. */
export interface Architecture {
  readonly text: ClipTextConfig
  readonly unet: UnetConfig
  readonly vae: VaeConfig
  readonly noise: NoiseConfig
  /** Latent height and width that the model was trained on. */
  readonly sampleSize: number
}

/** The UNet also takes a mask and the latents of the masked picture. */
export function isInpainting({ unet, vae }: Pick<Architecture, 'unet' | 'vae'>): boolean {
  return unet.in_channels === 2 * vae.latent_channels + 1
}

/**
 * Checks that the parts match each other and can be computed.
 * @throws CheckpointError naming the file and the two numbers that do not match
 */
export function checkArchitecture({ text, unet, vae }: Architecture, path: string): void {
  const fault = (what: string) => refused(path, what)
  if (unet.out_channels !== vae.latent_channels) {
    throw fault(
      `the UNet outputs ${unet.out_channels} channels, but the VAE takes ${vae.latent_channels}: they belong to different models`,
    )
  }
  const pix2pix = unet.in_channels === 2 * vae.latent_channels
  if (pix2pix)
    throw fault(
      `the UNet has ${unet.in_channels} input channels: this is InstructPix2Pix, which is not supported`,
    )
  if (unet.in_channels !== vae.latent_channels && !isInpainting({ unet, vae })) {
    throw fault(
      `the UNet has ${unet.in_channels} input channels; with a VAE of ${vae.latent_channels} latent channels ` +
        `${vae.latent_channels} are supported, and ${2 * vae.latent_channels + 1} for inpainting`,
    )
  }
  if (unet.cross_attention_dim !== text.hidden_size) {
    throw fault(
      `the UNet takes text states of width ${unet.cross_attention_dim}, but the text encoder outputs ` +
        `${text.hidden_size}: they belong to different models`,
    )
  }
  const divides = (parts: number, whole: number, what: string): void => {
    if (whole % parts !== 0) throw fault(`${whole} channels cannot be divided into ${parts} ${what}`)
  }
  for (const [level, channels] of unet.block_out_channels.entries()) {
    divides(unet.norm_num_groups, channels, 'groups of the UNet')
    divides(unet.heads[level] as number, channels, 'attention heads of the UNet')
  }
  for (const channels of vae.block_out_channels) divides(vae.norm_num_groups, channels, 'groups of the VAE')
  divides(text.num_attention_heads, text.hidden_size, 'attention heads of the text encoder')
}
