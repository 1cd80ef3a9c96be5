import { type FinishedPixels, resizeCut, resizePart, writeFinished } from '../adapters/pictures/finished.ts'
import { withText } from '../diffusion/output/png.ts'
import { onBackground, onNothing, shownPart, soften, steepen } from '../finish/compose.ts'
import { foreground } from '../finish/foreground.ts'
import { borderShare } from '../finish/measure.ts'
import { findProduct, place, window } from '../finish/placement.ts'
import { type Box, type Colour, type Cut, crop, type Raster } from '../finish/raster.ts'
import { shade } from '../finish/shadow.ts'
import { defaultQuality } from '../jobs/fields.ts'
import type { Finish, Measured } from '../jobs/finish.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import type { Judged } from './gate.ts'

/** Finishes one picture: pixels come from `src/finish`, sizes and files from `adapters/pictures`. */

export interface FinishOptions extends Pick<ResolvedRequest, 'format' | 'quality'> {
  readonly finish: Finish
  /** The uploaded background, in the size of the frame. */
  readonly background: Raster | undefined
  readonly parameters: string | undefined
}

export interface Finished {
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
  readonly measured: Pick<Measured, 'border_white' | 'product'>
}

/**
 * A picture without a product is delivered as it was drawn, in the frame's size: `product` is 0 then.
 * @throws AppError `finish_failed` if the file cannot be as small as asked
 */
export async function finishPicture(judged: Judged, options: FinishOptions): Promise<Finished> {
  const { finish, parameters, format, quality = defaultQuality } = options
  const { width, height } = finish
  const made =
    finish.background === 'as_made' || judged.found === undefined
      ? await asMade(judged, finish)
      : await onNewGround(judged, options)
  const colour = made.isNew ? colourOf(finish.background) : undefined
  const { bytes, checked } = await writeFinished(made.pixels, {
    format,
    quality,
    maxBytes: finish.max_bytes,
    colour,
    check: colour === undefined ? undefined : (decoded) => borderShare(decoded, colour),
    parameters,
  })
  return {
    bytes: format === 'png' && parameters !== undefined ? withText(bytes, { parameters }) : bytes,
    width,
    height,
    measured: {
      ...(checked === undefined ? {} : { border_white: rounded(checked, 4) }),
      product: rounded(made.product, 1),
    },
  }
}

interface Made {
  readonly pixels: FinishedPixels
  /** Percent of the frame. */
  readonly product: number
  /** Whether it has the background that was asked for. */
  readonly isNew: boolean
}

async function asMade({ picture, found }: Judged, finish: Finish): Promise<Made> {
  const { width, height } = finish
  const part = window(found, picture, { width, height, fill: finish.fill })
  const pixels = await resizePart(picture, part, width, height)
  const scale = width / part.width
  const box = found?.box
  const seen = box && shownPart({ ...box, left: box.left - part.left, top: box.top - part.top }, part)
  const product = seen === undefined ? 0 : shareOf(seen, { width: width / scale, height: height / scale })
  return { pixels, product, isNew: false }
}

async function onNewGround(judged: Judged, { finish, background, format }: FinishOptions): Promise<Made> {
  const { picture, alpha, found } = judged
  if (found === undefined) throw new Error('there is no product to place')
  const { width, height, shadow, margin, fill = 100 } = finish
  const colour = colourOf(finish.background)
  const placeWith = (free: number) => place(found, { width, height, fill, margin, free })
  const free = colour === undefined ? 1 : freePixels(format, Math.min(width, height))
  // the matte's edge is known to half a pixel of the picture, which is more than one of the frame when it is enlarged
  const { scale, left, top } = placeWith(free + Math.ceil(placeWith(free).scale * 0.6))
  const part = grown(found.box, Math.ceil(3 / Math.min(1, scale)), picture)
  const cut = crop({ ...picture, alpha }, part)
  const product = await scaled(
    cut,
    Math.max(1, Math.round(part.width * scale)),
    Math.max(1, Math.round(part.height * scale)),
  )
  const at = {
    left: Math.round(left - (found.box.left - part.left) * scale),
    top: Math.round(top - (found.box.top - part.top) * scale),
  }
  const frame = { width, height }
  const box = { ...at, width: product.width, height: product.height }
  const placed = {
    product,
    ...at,
    shade: shadow === 'none' ? undefined : shade(shadow, product.alpha, box, frame),
  }
  const box2 = findProduct(product.alpha, product.width, product.height)?.box ?? box
  const seen = shownPart({ ...box2, left: at.left + box2.left, top: at.top + box2.top }, frame)
  return {
    pixels:
      finish.background === 'transparent'
        ? onNothing(frame, placed)
        : onBackground(background ?? colour ?? white, frame, placed),
    product: shareOf(seen, frame),
    isNew: true,
  }
}

const white: Colour = [255, 255, 255]

/** Enlarged by more, the pixels of a matte are seen as stairs. */
const stairs = 2

/** Colours are cleaned at the smaller of the two sizes: that costs less, and edges are mixtures at either. */
async function scaled(cut: Cut, width: number, height: number): Promise<Cut> {
  const scale = width / cut.width
  const cleaned = scale > 1 ? { ...cut, rgb: foreground(cut) } : cut
  const even = scale > stairs ? { ...cleaned, alpha: soften(cleaned) } : cleaned
  const product = await resizeCut(even, width, height)
  steepen(product.alpha, scale)
  return scale > 1 ? product : { ...product, rgb: foreground(product) }
}

/** JPEG and WebP write blocks, and a block with a part of the product is nowhere exactly the background. */
function freePixels(format: ResolvedRequest['format'], side: number): number {
  const blocks = { png: 3, jpeg: 11, webp: 20 }[format]
  return Math.max(1, Math.min(blocks, Math.floor(side * 0.06)))
}

function grown(box: Box, by: number, { width, height }: Raster): Box {
  const left = Math.max(0, box.left - by)
  const top = Math.max(0, box.top - by)
  return {
    left,
    top,
    width: Math.min(width, box.left + box.width + by) - left,
    height: Math.min(height, box.top + box.height + by) - top,
  }
}

function shareOf(box: Pick<Box, 'width' | 'height'>, frame: Pick<Box, 'width' | 'height'>): number {
  return 100 * Math.max(box.width / frame.width, box.height / frame.height)
}

/** Red, green and blue of a colour; undefined for any other background. */
function colourOf(background: string): Colour | undefined {
  if (!background.startsWith('#')) return undefined
  const value = Number.parseInt(background.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

function rounded(value: number, digits: number): number {
  return Math.floor(value * 10 ** digits + 0.5) / 10 ** digits
}
