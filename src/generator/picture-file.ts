import { encodeLossy, type Raster } from '../adapters/pictures/encode.ts'
import { encodePng } from '../diffusion/output/png.ts'
import { defaultQuality } from '../jobs/fields.ts'
import type { ResolvedRequest } from '../jobs/job.ts'

/**
 * A picture in the file format of its request. `parameters` says how it was made, in the form of AUTOMATIC1111's web UI;
 * undefined leaves it out.
 */
export async function pictureFile(
  picture: Raster,
  { format, quality = defaultQuality }: Pick<ResolvedRequest, 'format' | 'quality'>,
  parameters: string | undefined,
): Promise<Uint8Array> {
  return format === 'png'
    ? encodePng(picture, parameters === undefined ? {} : { parameters })
    : encodeLossy(picture, { format, quality, parameters })
}
