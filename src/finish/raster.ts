/** A picture: 3 bytes per pixel (red, green, blue), row by row. */
export interface Raster {
  readonly rgb: Uint8Array
  readonly width: number
  readonly height: number
}

/** A picture with how much of each pixel is product: 0 none of it, 255 all. */
export interface Cut extends Raster {
  readonly alpha: Uint8Array
}

/** A part of a picture in whole pixels. */
export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

export type Colour = readonly [number, number, number]

/** From here on a pixel counts as product, where something is measured. */
export const solid = 128

/** @param box within the picture */
export function crop(cut: Cut, box: Box): Cut {
  const { left, top, width, height } = box
  if (left === 0 && top === 0 && width === cut.width && height === cut.height) return cut
  const rgb = new Uint8Array(width * height * 3)
  const alpha = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    const from = (top + y) * cut.width + left
    rgb.set(cut.rgb.subarray(from * 3, (from + width) * 3), y * width * 3)
    alpha.set(cut.alpha.subarray(from, from + width), y * width)
  }
  return { rgb, alpha, width, height }
}
