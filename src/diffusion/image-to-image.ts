import { type VaeConfig, vaeScale } from './models/vae.ts'
import { toPlanes } from './planes.ts'
import type { TorchGenerator } from './random/torch-normal.ts'
import type { SourceImage } from './request.ts'
import type { Sampler } from './samplers/sampler.ts'

/**
 * How a run begins, and what a mask does between its steps, as diffusers' pipelines do it:
 * pipeline_stable_diffusion.py without a picture, pipeline_stable_diffusion_img2img.py with one and
 * pipeline_stable_diffusion_inpaint.py with a mask or an inpainting UNet. All take their noise from one
 * generator, so the order in which this file draws is part of "same seed, same picture".
 */

interface RunStart {
  /** What the sampler begins with, [1, latent_channels, H, W]. */
  readonly sample: Float32Array
  /**
   * What goes behind the scaled sample's channels at each call of the UNet: mask and masked picture, [1, 1 +
   * latent_channels, H, W], for an inpainting UNet; else empty.
   */
  readonly extraChannels: Float32Array
  /** To be called with the sample after each call of `step(…, index, …)`: what the mask keeps is put back. */
  keep(sample: Float32Array, index: number): Float32Array
}

interface RunContext {
  /** Of the picture that is asked for, in pixels. */
  readonly width: number
  readonly height: number
  readonly sampler: Sampler
  /** Index of the first model call in the sampler's timesteps; 0 without a picture. */
  readonly begin: number
  readonly generator: Pick<TorchGenerator, 'randn'>
  readonly vae: VaeConfig
  /** Whether the UNet takes the mask and the masked picture beside the sample (9 channels). */
  readonly inpainting: boolean
  /** The VAE encoder: [1, 3, height, width] to moments [1, 2 * latent_channels, H, W]. */
  readonly encode: (picture: Float32Array, height: number, width: number) => Promise<Float32Array>
}

/**
 * Draws from the generator, so it comes before the first step.
 * @throws RangeError if picture, mask and size do not belong together
 */
export async function startRun(source: SourceImage | undefined, context: RunContext): Promise<RunStart> {
  const { width, height, sampler, generator, vae, inpainting } = context
  const scale = vaeScale(vae)
  if (width % scale !== 0 || height % scale !== 0) {
    throw new RangeError(`a picture's sides must be multiples of ${scale}, it is ${width}x${height}`)
  }
  if (source) checkSource(source, context)
  const size = (vae.latent_channels * width * height) / scale ** 2
  const latents = async (planes: Float32Array) =>
    sampleLatents(await context.encode(planes, height, width), generator, vae.scaling_factor)

  const planes = source ? toPlanes(source) : new Float32Array(3 * width * height)
  const mask = source?.mask ?? new Uint8Array(width * height).fill(255)
  const masked = source?.mask !== undefined || inpainting
  // at full strength the pipeline with a mask begins with noise alone, the one without with a trace of the picture
  const noiseOnly = !source || (masked && source.strength === 1)
  const clean = source && !(inpainting && noiseOnly) ? await latents(planes) : undefined
  const noise = generator.randn(size)
  const sample =
    clean && !noiseOnly
      ? sampler.addNoise(clean, noise, context.begin)
      : noise.map((value) => value * sampler.initialScale)

  if (inpainting) {
    const hidden = await latents(withoutMasked(planes, mask))
    return { sample, extraChannels: concat(latentMask(mask, width, height, scale), hidden), keep: unchanged }
  }
  const extraChannels = new Float32Array(0)
  if (!masked || !clean) return { sample, extraChannels, keep: unchanged }
  // diffusers encodes the masked picture here too and uses nothing of it, but later noise follows its draw
  generator.randn(size)
  return {
    sample,
    extraChannels,
    keep: keepOutside(latentMask(mask, width, height, scale), clean, noise, sampler),
  }
}

/**
 * Latents drawn from the encoder's distribution.
 * @param moments [1, 2 * channels, H, W]: means, then logarithms of variances
 * @returns [1, channels, H, W], multiplied by `scalingFactor`
 */
export function sampleLatents(
  moments: Float32Array,
  generator: Pick<TorchGenerator, 'randn'>,
  scalingFactor: number,
): Float32Array {
  const size = moments.length / 2
  const noise = generator.randn(size)
  return noise.map((value, i) => {
    const logVariance = Math.min(Math.max(moments[size + i]!, -30), 20)
    return (moments[i]! + Math.exp(logVariance / 2) * value) * scalingFactor
  })
}

/** The mask as 0 and 1 at the latents' size, by nearest neighbour: the upper left pixel of each square. */
export function latentMask(mask: Uint8Array, width: number, height: number, scale: number): Float32Array {
  const columns = width / scale
  return Float32Array.from({ length: columns * (height / scale) }, (_, i) => {
    const [y, x] = [Math.floor(i / columns) * scale, (i % columns) * scale]
    return isMasked(mask[y * width + x]!) ? 1 : 0
  })
}

function isMasked(value: number): boolean {
  return value >= 128
}

/** Grey (0) where the mask is. */
function withoutMasked(planes: Float32Array, mask: Uint8Array): Float32Array {
  return planes.map((value, i) => (isMasked(mask[i % mask.length]!) ? 0 : value))
}

/**
 * After each step the kept part becomes what the sampler would have made of the source picture: its latents with
 * the noise of the next call's level, and without noise at the end.
 */
function keepOutside(
  mask: Float32Array,
  clean: Float32Array,
  noise: Float32Array,
  sampler: Sampler,
): RunStart['keep'] {
  return (sample, index) => {
    const next = index + 1
    const kept = next < sampler.timesteps.length ? sampler.addNoise(clean, noise, next) : clean
    return sample.map((value, i) => (mask[i % mask.length] === 1 ? value : kept[i]!))
  }
}

function unchanged(sample: Float32Array): Float32Array {
  return sample
}

function concat(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}

function checkSource(source: SourceImage, { width, height }: RunContext): void {
  const { rgb, mask } = source
  if (source.width !== width || source.height !== height || rgb.length !== 3 * width * height) {
    throw new RangeError(
      `the source picture must be ${width}x${height} with ${3 * width * height} bytes; ` +
        `it is ${source.width}x${source.height} with ${rgb.length}`,
    )
  }
  if (mask && mask.length !== width * height) {
    throw new RangeError(
      `the mask must have ${width * height} bytes (${width}x${height}), it has ${mask.length}`,
    )
  }
}
