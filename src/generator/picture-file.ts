import { encodeLarge, encodeLossy, type Raster } from '../adapters/pictures/encode.ts'
import { encodePng, withText } from '../diffusion/output/png.ts'
import { defaultQuality } from '../jobs/fields.ts'
import type { ResolvedRequest } from '../jobs/job.ts'

/** What is drawn is smaller. A photo has many times the pixels, and libvips writes them many times faster. */
const smallPixels = 2_000_000

/**
 * A picture in the file format of its request. `parameters` says how it was made, in the form of AUTOMATIC1111's web UI;
 * undefined leaves it out.
 */
export async function pictureFile(
  picture: Raster,
  { format, quality = defaultQuality }: Pick<ResolvedRequest, 'format' | 'quality'>,
  parameters: string | undefined,
): Promise<Uint8Array> {
  if (format !== 'png') return encodeLossy(picture, { format, quality, parameters })
  const text = parameters === undefined ? {} : { parameters }
  if (picture.width * picture.height <= smallPixels) return encodePng(picture, text)
  return withText(await encodeLarge(picture), text)
}
