import sharp from 'sharp'
import { withExif } from './exif.ts'

export interface Raster {
  /** 3 bytes per pixel, row by row. */
  readonly rgb: Uint8Array
  readonly width: number
  readonly height: number
}

export interface LossyFile {
  readonly format: 'jpeg' | 'webp'
  /** 1 to 100. */
  readonly quality: number
  /** How the picture was made: stored in EXIF UserComment, where AUTOMATIC1111's web UI writes and reads it. */
  readonly parameters: string | undefined
}

/** A picture as a JPEG or WebP file, with colours at full resolution if the format supports it. */
export async function encodeLossy(
  { rgb, width, height }: Raster,
  { format, quality, parameters }: LossyFile,
): Promise<Uint8Array> {
  const image = sharp(rgb, { raw: { width, height, channels: 3 } })
  const file =
    format === 'jpeg'
      ? await image.jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer()
      : await image.webp({ quality, smartSubsample: true }).toBuffer()
  return parameters === undefined ? file : withExif(file, { format, width, height, comment: parameters })
}

/** A picture of many megapixels as a PNG, in a second rather than as small as can be. */
export async function encodeLarge({ rgb, width, height }: Raster): Promise<Uint8Array> {
  const image = sharp(rgb, { raw: { width, height, channels: 3 } })
  return image.png({ compressionLevel: 3, adaptiveFiltering: true, palette: false }).toBuffer()
}

/** Of the longer side of a preview, in pixels. */
const previewSide = 256
const previewQuality = 80

/**
 * A small JPEG of a picture: scaled down until it fits into a square of 256 pixels.
 * @param full the size that the picture will have, if what is known of it is smaller
 */
export async function encodePreview(
  { rgb, width, height }: Raster,
  full: Pick<Raster, 'width' | 'height'> = { width, height },
): Promise<Uint8Array> {
  const scale = Math.min(1, previewSide / Math.max(full.width, full.height))
  const side = (length: number) => Math.max(1, Math.round(length * scale))
  const size = { width: side(full.width), height: side(full.height), fit: 'fill' } as const
  const image = sharp(rgb, { raw: { width, height, channels: 3 } }).resize(size)
  return image.jpeg({ quality: previewQuality }).toBuffer()
}
