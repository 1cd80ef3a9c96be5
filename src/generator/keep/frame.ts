import type { Found } from '../../finish/placement.ts'
import type { Box } from '../../finish/raster.ts'

/**
 * The frame in which the product of a photo is delivered. All that is not the product is drawn anew, so the frame may
 * reach beyond the photo: a product is never cut off that the photo shows whole.
 */

export interface Size {
  readonly width: number
  readonly height: number
}

/** Free on each side of the product, of its longer side. */
const margin = 0.08

/**
 * The largest frame of this shape in the photo that has the whole product and room around it; larger than the photo if
 * none has. An edge that cuts the product off is an edge of the frame too, so that nothing ends in mid-air; where that
 * cannot be, the frame cuts off more. The frame is in pixels of the photo, and may begin before its left upper corner.
 * @param shape width divided by height
 */
export function frameFor(photo: Size, { box, cut }: Found, shape: number): Box {
  const free = margin * Math.max(box.width, box.height)
  const across = span(box.left, box.width, photo.width, free, cut.left, cut.right)
  const down = span(box.top, box.height, photo.height, free, cut.top, cut.bottom)
  const inside = Math.min(photo.width, photo.height * shape)
  let width = Math.max(inside, across.end - across.start, (down.end - down.start) * shape)
  const floats =
    (cut.left && cut.right && width > photo.width + 1) ||
    (cut.top && cut.bottom && width / shape > photo.height + 1)
  if (floats) width = inside
  const height = width / shape
  return {
    left: Math.round(placed(across, width, photo.width)),
    top: Math.round(placed(down, height, photo.height)),
    width: Math.max(1, Math.round(width)),
    height: Math.max(1, Math.round(height)),
  }
}

interface Span {
  readonly start: number
  readonly end: number
  readonly cutStart: boolean
  readonly cutEnd: boolean
}

function span(
  start: number,
  length: number,
  whole: number,
  free: number,
  cutStart: boolean,
  cutEnd: boolean,
): Span {
  return {
    start: cutStart ? 0 : start - free,
    end: cutEnd ? whole : start + length + free,
    cutStart,
    cutEnd,
  }
}

/** Where a frame of this length begins: centred on the photo, moved as little as the product needs. */
function placed({ start, end, cutStart, cutEnd }: Span, length: number, whole: number): number {
  if (cutStart && !cutEnd) return 0
  if (cutEnd && !cutStart) return whole - length
  const centred = (whole - length) / 2
  if (length < end - start) return Math.min(Math.max((start + end - length) / 2, 0), whole - length)
  return Math.min(Math.max(centred, end - length), start)
}

/**
 * The size of the delivered picture: as large as the frame in the photo, at least as large as what is drawn, and within
 * the bound in pixels.
 */
export function deliveredSize(frame: Size, drawn: Size, pixels: number): Size {
  const least = Math.max(1, drawn.width / frame.width)
  const most = Math.sqrt(pixels / (frame.width * frame.height))
  const scale = Math.min(least, most)
  const side = (length: number) => Math.max(1, scale === 1 ? length : Math.floor(length * scale))
  return { width: side(frame.width), height: side(frame.height) }
}
