import sharp from 'sharp'
import type { Raster } from './encode.ts'

/** A picture in another size, by the same filter as an upload that is fitted: scaled to cover it, the excess cropped evenly. */
export async function fitRaster({ rgb, ...size }: Raster, width: number, height: number): Promise<Raster> {
  const pixels = await sharp(rgb, { raw: { ...size, channels: 3 } })
    .resize(width, height, { fit: 'cover', kernel: 'lanczos3' })
    .raw()
    .toBuffer()
  return { rgb: new Uint8Array(pixels), width, height }
}
