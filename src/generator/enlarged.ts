import { resizeCut } from '../adapters/pictures/finished.ts'
import { steepen } from '../finish/compose.ts'
import { findProduct } from '../finish/placement.ts'
import type { Raster } from '../finish/raster.ts'
import type { Finish } from '../jobs/finish.ts'
import type { Judged } from './gate.ts'

/** What a finish begins with, where it has to enlarge: the picture from an upscaler, and its matte in that size. */
export async function enlargedFor(
  judged: Judged,
  finish: Finish,
  enlarge: (picture: Raster) => Promise<Raster>,
): Promise<Judged> {
  const { picture, alpha, found } = judged
  if (scaleFor(judged, finish) <= 1) return judged
  const large = await enlarge(picture)
  const { width, height } = large
  const cut = await resizeCut({ ...picture, alpha }, width, height)
  steepen(cut.alpha, width / picture.width)
  return {
    ...judged,
    picture: large,
    alpha: cut.alpha,
    found: found && findProduct(cut.alpha, width, height),
  }
}

/** About how many pixels of the frame there are for one of the picture. */
function scaleFor({ picture, found }: Judged, { width, height, fill, background }: Finish): number {
  const frame = Math.max(width / picture.width, height / picture.height)
  if (found === undefined || fill === undefined || background === 'as_made') return frame
  return (fill / 100) * Math.min(width / found.box.width, height / found.box.height)
}
