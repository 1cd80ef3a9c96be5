/**
 * Where the product of a photo is, and the frame in which it is delivered. All that is not the product is drawn anew,
 * so the frame may reach beyond the photo: a product is never cut off that the photo shows whole.
 */

export interface Size {
  readonly width: number
  readonly height: number
}

/** In pixels of the photo; a frame may begin left of it or above, and end beyond it. */
export interface Box extends Size {
  readonly left: number
  readonly top: number
}

export interface Product extends Box {
  /** Of all pixels of the photo, 0 to 1. */
  readonly share: number
  /** The edges of the photo that cut it off. */
  readonly cut: {
    readonly left: boolean
    readonly top: boolean
    readonly right: boolean
    readonly bottom: boolean
  }
}

/** From here on a pixel belongs to the product. */
const opaque = 128
/** Free on each side of the product, of its longer side. */
const margin = 0.08

/** The smallest box around all that is at least half opaque; undefined if nothing is. */
export function productIn(alpha: Uint8Array, { width, height }: Size): Product | undefined {
  let [left, top, right, bottom, count] = [width, height, -1, -1, 0]
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      if ((alpha[i] ?? 0) < opaque) continue
      count += 1
      if (x < left) left = x
      if (x > right) right = x
      if (y < top) top = y
      if (y > bottom) bottom = y
    }
  }
  if (count === 0) return undefined
  const near = Math.max(1, Math.round(0.002 * Math.max(width, height)))
  return {
    left,
    top,
    width: right - left + 1,
    height: bottom - top + 1,
    share: count / (width * height),
    cut: {
      left: left < near,
      top: top < near,
      right: right >= width - near,
      bottom: bottom >= height - near,
    },
  }
}

/**
 * The largest frame of this shape in the photo that has the whole product and room around it; larger than the photo if
 * none has. An edge that cuts the product off is an edge of the frame too, so that nothing ends in mid-air; where that
 * cannot be, the frame cuts off more.
 * @param shape width divided by height
 */
export function frameFor(photo: Size, product: Product, shape: number): Box {
  const free = margin * Math.max(product.width, product.height)
  const across = span(product.left, product.width, photo.width, free, product.cut.left, product.cut.right)
  const down = span(product.top, product.height, photo.height, free, product.cut.top, product.cut.bottom)
  const inside = Math.min(photo.width, photo.height * shape)
  let width = Math.max(inside, across.end - across.start, (down.end - down.start) * shape)
  const floats =
    (product.cut.left && product.cut.right && width > photo.width + 1) ||
    (product.cut.top && product.cut.bottom && width / shape > photo.height + 1)
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
  const moved = Math.min(Math.max(centred, end - length), start)
  // not beyond the photo for the sake of the room around the product alone, if it fits without
  return length <= whole && start >= 0 && end <= whole ? Math.min(Math.max(moved, 0), whole - length) : moved
}

/**
 * The size of the delivered picture: as large as the frame in the photo, at least as large as what is drawn, and within
 * the bound. Then `scale` is pixels of the picture per pixel of the photo, 1 if the product stays as it is.
 */
export function deliveredSize(frame: Size, drawn: Size, pixels: number): Size & { readonly scale: number } {
  const least = Math.max(1, drawn.width / frame.width)
  const most = Math.sqrt(pixels / (frame.width * frame.height))
  const scale = Math.min(least, most)
  const side = (length: number) => Math.max(1, scale === 1 ? length : Math.floor(length * scale))
  return { width: side(frame.width), height: side(frame.height), scale }
}
