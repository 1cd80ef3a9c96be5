import { resizeCut, resizePart, writeFinished } from '../../adapters/pictures/finished.ts'
import type { SourceImage } from '../../diffusion/request.ts'
import { cleanMatte } from '../../finish/clean.ts'
import { onBackground, onNothing } from '../../finish/compose.ts'
import { foreground } from '../../finish/foreground.ts'
import { findProduct } from '../../finish/placement.ts'
import { type Box, type Cut, crop, type Raster } from '../../finish/raster.ts'
import { shade } from '../../finish/shadow.ts'
import { AppError } from '../../jobs/errors.ts'
import { defaultQuality } from '../../jobs/fields.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import type { GivenImages, PictureReader } from '../../jobs/ports.ts'
import type { MatteSource } from '../gate.ts'
import { cut, maskAround } from './cut.ts'
import { deliveredSize, frameFor, type Size } from './frame.ts'
import { withoutGhost } from './ghost.ts'

/**
 * A person's own photo in another set: the product is found, a model draws around it, and the product's pixels are put
 * back as the photo has them.
 */

/** Of both sides: in less there is no product to be seen. */
const leastSide = 32
/** Of all pixels. */
const [leastShare, mostShare] = [0.002, 0.97]
const solid = 128

/**
 * The photo and its product: what the mask keeps or, without one, what is opaque in the upload or else what the matte
 * finds. Rejects `invalid_upload` with what to do.
 */
export async function keptPhoto(
  images: GivenImages,
  reader: PictureReader,
  matte: MatteSource,
): Promise<Cut> {
  const { init, mask } = images
  if (init === undefined) throw new Error('a photo whose product is kept is given')
  const { alpha: own, ...photo } = await reader.read(init)
  const { width, height } = photo
  if (Math.min(width, height) < leastSide) {
    throw refused(
      `The photo has ${width} x ${height} pixels, too few to find a product in it: at least ${leastSide} x ${leastSide} are needed.`,
    )
  }
  const alpha =
    mask === undefined
      ? (own ?? cleanMatte(await matte.alpha(photo), width, height))
      : within((await reader.fit(mask, width, height, 'kept')).pixels, own)
  checkShare(shareOf(alpha), mask !== undefined)
  return { ...photo, alpha }
}

function within(kept: Uint8Array, own: Uint8Array | undefined): Uint8Array {
  return own === undefined ? kept : kept.map((value, i) => Math.min(value, own[i] ?? 0))
}

function shareOf(alpha: Uint8Array): number {
  let count = 0
  for (const value of alpha) if (value >= solid) count += 1
  return count / alpha.length
}

function checkShare(share: number, masked: boolean): void {
  if (share >= leastShare && share <= mostShare) return
  const none = share < leastShare
  if (masked) {
    throw refused(
      none
        ? 'The mask keeps nothing of the photo: black is kept, white is drawn anew.'
        : 'The mask keeps the whole photo, so there is nothing to draw: white is drawn anew.',
    )
  }
  throw refused(
    none
      ? 'No product was found in the photo. Mark it with a mask (black is kept), or take a photo in which it stands out from what is behind it.'
      : 'The product fills the whole photo, so there is no set to replace. Mark what to keep with a mask (black is kept), or take the photo from further away.',
  )
}

function refused(message: string): AppError {
  return new AppError('invalid_upload', message, { param: 'init_image' })
}

export interface FramedProduct {
  /** For the model: the photo in the frame, and all around the product to be drawn. */
  readonly source: SourceImage
  /** The product in the size of `source`. */
  readonly drawnAlpha: Uint8Array
  /** In the size of the delivered picture, with what the photo has behind it. */
  readonly product: Cut
}

interface Wanted extends Size {
  readonly strength: number
  /** Of the delivered picture, at most. */
  readonly pixels: number
}

/** How much larger than the bound a frame may be before the photo is scaled down to it. */
const tooLarge = 1.1

/** The product in a frame of the shape that is drawn. */
export async function inFrame(
  photo: Cut,
  { width, height, strength, pixels }: Wanted,
): Promise<FramedProduct> {
  const drawn = { width, height }
  const found = findProduct(photo.alpha, photo.width, photo.height)
  if (found === undefined) throw new Error('a kept photo has a product')
  const frame = frameFor(photo, found, width / height)
  const area = frame.width * frame.height
  if (area > tooLarge * pixels) {
    // a tall product in a wide frame: the frame of a large photo would not fit into memory
    const scale = Math.sqrt(pixels / area)
    const side = (length: number) => Math.max(1, Math.round(length * scale))
    const smaller = await resizeCut(photo, side(photo.width), side(photo.height))
    return inFrame(smaller, { width, height, strength, pixels })
  }
  const framed = {
    rgb: cut(photo.rgb, photo, frame, { channels: 3, beyond: 'edge' }),
    alpha: cut(photo.alpha, photo, frame, { channels: 1, beyond: 'nothing' }),
    width: frame.width,
    height: frame.height,
  }
  const small = await resizeCut(framed, width, height)
  const size = deliveredSize(frame, drawn, pixels)
  return {
    source: { rgb: small.rgb, ...drawn, strength, mask: maskAround(small.alpha, drawn) },
    drawnAlpha: small.alpha,
    product: await resizeCut(framed, size.width, size.height),
  }
}

/** Pixels around the product that its soft edge may need. */
const soft = 8

/** The product on the set that was drawn, with a contact shadow; `alpha` says where the product is. */
export async function onSet(
  { source, product, drawnAlpha }: FramedProduct,
  drawn: Raster,
  matte: MatteSource,
): Promise<Cut> {
  const { width, height, alpha } = product
  const kept = await resizeCut({ ...source, alpha: drawnAlpha }, drawn.width, drawn.height)
  const clean = withoutGhost(drawn, kept, await matte.alpha(drawn))
  const whole = { left: 0, top: 0, width: drawn.width, height: drawn.height }
  const set = await resizePart(clean, whole, width, height)
  const found = findProduct(alpha, width, height)
  if (found === undefined) throw new Error('a framed product is in its frame')
  const box = grown(found.box, product)
  const part = crop(product, box)
  const placed = { product: { ...part, rgb: foreground(part) }, left: box.left, top: box.top }
  // what the frame cuts off does not stand in it
  const shadow = found.cut.bottom ? undefined : shade('contact', part.alpha, box, product)
  return { ...onBackground(set, product, { ...placed, shade: shadow }), alpha }
}

function grown({ left, top, width, height }: Box, frame: Size): Box {
  const [x, y] = [Math.max(0, left - soft), Math.max(0, top - soft)]
  return {
    left: x,
    top: y,
    width: Math.min(frame.width, left + width + soft) - x,
    height: Math.min(frame.height, top + height + soft) - y,
  }
}

/** The product alone, in the frame of the photo scaled down to fit into the request's size: a PNG or WebP. */
export async function cutOut(
  photo: Cut,
  { width, height, format, quality = defaultQuality }: ResolvedRequest,
): Promise<Size & { readonly bytes: Uint8Array }> {
  const scale = Math.min(1, width / photo.width, height / photo.height)
  const side = (length: number) => Math.max(1, Math.round(length * scale))
  const small = await resizeCut(photo, side(photo.width), side(photo.height))
  const product = { ...small, rgb: foreground(small) }
  const pixels = onNothing(small, { product, left: 0, top: 0, shade: undefined })
  const file = {
    format,
    quality,
    maxBytes: undefined,
    check: undefined,
    colour: undefined,
    parameters: undefined,
  }
  const { bytes } = await writeFinished(pixels, file)
  return { bytes, width: small.width, height: small.height }
}

/** The kept photo of each run: its pictures have one photo, and finding its product takes a while. */
export function keptPhotos(reader: PictureReader, matte: MatteSource): (images: GivenImages) => Promise<Cut> {
  const known = new WeakMap<GivenImages, Promise<Cut>>()
  return (images) => {
    const found = known.get(images) ?? keptPhoto(images, reader, matte)
    known.set(images, found)
    return found
  }
}
