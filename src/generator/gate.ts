import { cleanMatte } from '../finish/clean.ts'
import { lookDistance, lookOf, sharpness } from '../finish/measure.ts'
import { type Found, findProduct, isInside } from '../finish/placement.ts'
import type { Raster } from '../finish/raster.ts'
import type { Measured } from '../jobs/finish.ts'

/** Looks at a picture that was drawn: what is measured decides whether it is drawn again, and which try is delivered. */

/** Says how much of each pixel is product. */
export interface MatteSource {
  alpha(picture: Raster): Promise<Uint8Array>
}

export type Look = ReturnType<typeof lookOf>

export interface Judged {
  readonly picture: Raster
  /** Clean. */
  readonly alpha: Uint8Array
  readonly found: Found | undefined
  readonly look: Look
  readonly measured: Pick<Measured, 'inside' | 'sharpness' | 'like'>
  /** Names of the figures that missed. */
  readonly missed: readonly string[]
}

/** Below it a product has no visible detail and no edge: the variance of the Laplacian of a blurred picture. */
const leastSharpness = 8
/** Of 64 comparisons: pictures that differ in fewer are nearly the same. */
const sameLook = 3

/** @param given the matte of a picture that brought one: an upload with a transparent part */
export async function judge(
  picture: Raster,
  matte: MatteSource,
  earlier: readonly Look[],
  given?: Uint8Array,
): Promise<Judged> {
  const { width, height } = picture
  const alpha = cleanMatte(given ?? (await matte.alpha(picture)), width, height)
  const found = findProduct(alpha, width, height)
  const look = lookOf(picture)
  const like = earlier.findIndex((other) => lookDistance(look, other) < sameLook)
  const measured = {
    inside: found !== undefined && isInside(found),
    sharpness: found === undefined ? 0 : sharpness({ ...picture, alpha }),
    ...(like < 0 ? {} : { like }),
  }
  const missed = [
    ...(found === undefined ? ['product'] : []),
    ...(found !== undefined && !measured.inside ? ['inside'] : []),
    ...(found !== undefined && measured.sharpness < leastSharpness ? ['sharpness'] : []),
    ...(like < 0 ? [] : ['like']),
  ]
  return { picture, alpha, found, look, measured, missed }
}

/** The order of what misses, the worst first. */
const weights: Readonly<Record<string, number>> = { product: 8, inside: 4, sharpness: 2, like: 1 }

/** Whether the first picture is the better one to deliver; of equals the earlier try is. */
export function isBetter(a: Judged, b: Judged): boolean {
  const [x, y] = [a, b].map(({ missed }) => missed.reduce((sum, name) => sum + (weights[name] ?? 0), 0)) as [
    number,
    number,
  ]
  return x < y
}
