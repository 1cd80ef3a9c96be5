import { resized } from '../../adapters/pictures/resize.ts'
import type { SourceImage } from '../../diffusion/request.ts'
import { AppError } from '../../jobs/errors.ts'
import type { GivenImages, PictureReader } from '../../jobs/ports.ts'
import { cut, maskAround } from './cut.ts'
import { deliveredSize, frameFor, productIn, type Size } from './frame.ts'
import { withoutSpecks } from './specks.ts'

/**
 * A person's own photo in another set: the product is found, a model draws around it, and the product's pixels are put
 * back as the photo has them.
 */

/** Finds a product: how opaque each pixel is, 0 to 255. */
export type FindProduct = (photo: Size & { readonly rgb: Uint8Array }) => Promise<Uint8Array>

/** A product with the photo around it. */
export interface KeptPhoto extends Size {
  readonly rgb: Uint8Array
  readonly alpha: Uint8Array
}

/** Of both sides: in less there is no product to be seen. */
const leastSide = 32
/** Of all pixels. */
const [leastShare, mostShare] = [0.002, 0.97]

/**
 * The product of the photo: what the mask keeps or, without one, what is opaque in the upload or else what `find` finds.
 * Rejects `invalid_upload` with what to do.
 */
export async function keptPhoto(
  { init, mask }: GivenImages,
  reader: PictureReader,
  find: FindProduct,
): Promise<KeptPhoto> {
  const { rgb, alpha: own, width, height } = await reader.read(init)
  if (Math.min(width, height) < leastSide) {
    throw refused(
      `The photo has ${width} x ${height} pixels, too few to find a product in it: at least ${leastSide} x ${leastSide} are needed.`,
    )
  }
  const alpha =
    mask === undefined
      ? (own ?? withoutSpecks(pure(await find({ rgb, width, height })), { width, height }))
      : within((await reader.fit(mask, width, height, 'kept')).pixels, own)
  checkShare(productIn(alpha, { width, height })?.share ?? 0, mask !== undefined)
  return { rgb, alpha, width, height }
}

/** What is nearly opaque is the product itself: its pixels stay as they are. */
function pure(alpha: Uint8Array): Uint8Array {
  const [low, high] = [8, 247]
  return alpha.map((value) => Math.min(255, Math.max(0, Math.round(((value - low) * 255) / (high - low)))))
}

function within(kept: Uint8Array, own: Uint8Array | undefined): Uint8Array {
  return own === undefined ? kept : kept.map((value, i) => Math.min(value, own[i] ?? 0))
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

export interface KeptProduct {
  /** For the model. */
  readonly source: SourceImage
  /** The product in the size of the delivered picture, with what the photo has behind it. */
  readonly product: KeptPhoto
  /** Whether the photo shows all of it. */
  readonly whole: boolean
}

interface Wanted extends Size {
  readonly strength: number
  /** Of the delivered picture, at most. */
  readonly pixels: number
}

/** The product in a frame of the shape that is drawn. */
export async function inFrame(
  photo: KeptPhoto,
  { width, height, strength, pixels }: Wanted,
): Promise<KeptProduct> {
  const drawn = { width, height }
  const found = productIn(photo.alpha, photo)
  if (found === undefined) throw new Error('a kept photo has a product')
  const frame = frameFor(photo, found, width / height)
  const rgb = cut(photo.rgb, photo, frame, { channels: 3, beyond: 'edge' })
  const alpha = cut(photo.alpha, photo, frame, { channels: 1, beyond: 'nothing' })
  const at = (size: Size) =>
    Promise.all([
      resized({ pixels: rgb, ...sizeOf(frame), channels: 3 }, size),
      resized({ pixels: alpha, ...sizeOf(frame), channels: 1 }, size),
    ])
  const [small, smallAlpha] = await at(drawn)
  const size = sizeOf(deliveredSize(frame, drawn, pixels))
  const [large, largeAlpha] = await at(size)
  return {
    source: { rgb: small, ...drawn, strength, mask: maskAround(smallAlpha, drawn) },
    product: { rgb: large, alpha: largeAlpha, ...size },
    whole: !Object.values(found.cut).includes(true),
  }
}

function sizeOf({ width, height }: Size): Size {
  return { width, height }
}
