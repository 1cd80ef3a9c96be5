import { type Box, solid } from './raster.ts'

/** Where the product is, and where it goes. */

interface Sides {
  readonly top: boolean
  readonly right: boolean
  readonly bottom: boolean
  readonly left: boolean
}

export interface Found {
  readonly box: Box
  /** The sides at which the picture cuts it off. */
  readonly cut: Sides
}

/** Of a side: a few pixels at the border are no cut. */
const cutShare = 0.01

/** The product in a clean matte; undefined if there is none. */
export function findProduct(alpha: Uint8Array, width: number, height: number): Found | undefined {
  let [left, right, top, bottom] = [width, -1, height, -1]
  for (let y = 0; y < height; y++) {
    const at = y * width
    let first = -1
    let last = -1
    for (let x = 0; x < width; x++) {
      if ((alpha[at + x] as number) < solid) continue
      if (first < 0) first = x
      last = x
    }
    if (first < 0) continue
    if (first < left) left = first
    if (last > right) right = last
    if (y < top) top = y
    bottom = y
  }
  if (right < 0) return undefined
  const countOf = (start: number, step: number, length: number) => {
    let count = 0
    for (let i = 0; i < length; i++) if ((alpha[start + i * step] as number) >= solid) count++
    return count >= Math.max(2, length * cutShare)
  }
  return {
    box: { left, top, width: right - left + 1, height: bottom - top + 1 },
    cut: {
      top: countOf(0, 1, width),
      right: countOf(width - 1, width, height),
      bottom: countOf((height - 1) * width, 1, width),
      left: countOf(0, width, height),
    },
  }
}

export function isInside({ cut }: Found): boolean {
  return !(cut.top || cut.right || cut.bottom || cut.left)
}

export interface Frame {
  readonly width: number
  readonly height: number
  /** Percent of the frame that the product's longer side takes. */
  readonly fill: number
  /** In percent of the frame. */
  readonly margin: {
    readonly top: number
    readonly right: number
    readonly bottom: number
    readonly left: number
  }
  /** Pixels at the border that the product leaves free, whatever the fill. */
  readonly free: number
}

export interface Place {
  /** Pixels of the frame for one of the picture. */
  readonly scale: number
  /** Of the product's box in the frame. */
  readonly left: number
  readonly top: number
}

/**
 * Centred within the margins, as large as `fill` says and the margins allow. A product that is cut off goes to that
 * border, so that the cut is where pictures end; if it is cut on both sides it spans the frame, where that fits.
 */
export function place({ box, cut }: Found, frame: Frame): Place {
  const { width, height, fill, margin, free } = frame
  const [across, upright] = [cut.left && cut.right, cut.top && cut.bottom]
  const near = (percent: number, side: number, isCut: boolean) =>
    isCut ? 0 : Math.max(free, Math.round((percent * side) / 100))
  const left = near(margin.left, width, cut.left)
  const right = width - near(margin.right, width, cut.right)
  const top = near(margin.top, height, cut.top)
  const bottom = height - near(margin.bottom, height, cut.bottom)
  const fits = Math.min((right - left) / box.width, (bottom - top) / box.height)
  const filled = fill / 100 / Math.max(box.width / width, box.height / height)
  const scale = Math.min(fits, across || upright ? Number.POSITIVE_INFINITY : filled)
  const along = (from: number, to: number, size: number, atStart: boolean, atEnd: boolean) => {
    if (atStart && !atEnd) return from
    if (atEnd && !atStart) return to - size
    return Math.round((from + to - size) / 2)
  }
  return {
    scale,
    left: along(left, right, box.width * scale, cut.left, cut.right),
    top: along(top, bottom, box.height * scale, cut.top, cut.bottom),
  }
}

/**
 * The part of the picture that is shown on its own background: of the frame's shape, around the product, and not beyond the
 * picture. With `fill` the product takes that much, unless the picture ends before.
 */
export function window(
  found: Found | undefined,
  picture: { readonly width: number; readonly height: number },
  frame: Pick<Frame, 'width' | 'height'> & { readonly fill: number | undefined },
): Box {
  const most = Math.min(picture.width / frame.width, picture.height / frame.height)
  const box = found?.box ?? { left: 0, top: 0, width: picture.width, height: picture.height }
  const filling = Math.max(box.width / frame.width, box.height / frame.height) / ((frame.fill ?? 100) / 100)
  const unit = frame.fill === undefined || found === undefined ? most : Math.min(most, filling)
  const width = Math.max(1, Math.min(picture.width, Math.round(frame.width * unit)))
  const height = Math.max(1, Math.min(picture.height, Math.round(frame.height * unit)))
  const within = (middle: number, size: number, all: number) =>
    Math.round(Math.min(all - size, Math.max(0, middle - size / 2)))
  return {
    left: within(box.left + box.width / 2, width, picture.width),
    top: within(box.top + box.height / 2, height, picture.height),
    width,
    height,
  }
}
