import { mean } from './boxes.ts'
import type { Box, Colour, Cut, Raster } from './raster.ts'
import { rowOfShade, type Shade } from './shadow.ts'

/** Puts the product and its shadow on a background. */

interface Placed {
  /** The product in its final size. */
  readonly product: Cut
  /** Where its left upper corner goes; it may be outside, and so may parts of the product. */
  readonly left: number
  readonly top: number
  readonly shade: Shade | undefined
}

/** On a colour or a picture of the frame's size. Where there is neither product nor shadow, the background stays exactly. */
export function onBackground(
  background: Colour | Raster,
  frame: { readonly width: number; readonly height: number },
  placed: Placed,
): Raster {
  const { width, height } = frame
  const rgb = 'rgb' in background ? new Uint8Array(background.rgb) : filled(background, width * height)
  const { shade } = placed
  if (shade !== undefined) {
    const row = new Float32Array(width)
    for (let y = 0; y < height; y++) {
      if (!rowOfShade(shade, y, row)) continue
      for (let x = 0; x < width; x++) {
        const light = 1 - (row[x] as number)
        if (light === 1) continue
        const at = (y * width + x) * 3
        rgb[at] = Math.round((rgb[at] as number) * light)
        rgb[at + 1] = Math.round((rgb[at + 1] as number) * light)
        rgb[at + 2] = Math.round((rgb[at + 2] as number) * light)
      }
    }
  }
  eachPixel(placed, frame, (at, from, share) => {
    const { product } = placed
    for (let channel = 0; channel < 3; channel++) {
      const own = product.rgb[from * 3 + channel] as number
      const behind = rgb[at * 3 + channel] as number
      rgb[at * 3 + channel] = Math.round(behind + (own - behind) * share)
    }
  })
  return { rgb, width, height }
}

/** 4 bytes per pixel. The shadow is black that lets through. */
export function onNothing(
  frame: { readonly width: number; readonly height: number },
  placed: Placed,
): { readonly rgba: Uint8Array; readonly width: number; readonly height: number } {
  const { width, height } = frame
  const rgba = new Uint8Array(width * height * 4)
  const { shade, product } = placed
  if (shade !== undefined) {
    const row = new Float32Array(width)
    for (let y = 0; y < height; y++) {
      if (!rowOfShade(shade, y, row)) continue
      for (let x = 0; x < width; x++) rgba[(y * width + x) * 4 + 3] = Math.round((row[x] as number) * 255)
    }
  }
  eachPixel(placed, frame, (at, from, share) => {
    const below = (rgba[at * 4 + 3] as number) / 255
    const all = share + below * (1 - share)
    for (let channel = 0; channel < 3; channel++) {
      rgba[at * 4 + channel] = Math.round(((product.rgb[from * 3 + channel] as number) * share) / all)
    }
    rgba[at * 4 + 3] = Math.round(all * 255)
  })
  return { rgba, width, height }
}

function eachPixel(
  { product, left, top }: Placed,
  { width, height }: { readonly width: number; readonly height: number },
  paint: (at: number, from: number, share: number) => void,
): void {
  const firstX = Math.max(0, -left)
  const lastX = Math.min(product.width, width - left)
  for (let y = Math.max(0, -top); y < Math.min(product.height, height - top); y++) {
    for (let x = firstX; x < lastX; x++) {
      const from = y * product.width + x
      const alpha = product.alpha[from] as number
      if (alpha !== 0) paint((top + y) * width + left + x, from, alpha / 255)
    }
  }
}

function filled([red, green, blue]: Colour, pixels: number): Uint8Array {
  const rgb = new Uint8Array(pixels * 3)
  if (red === green && green === blue) return rgb.fill(red)
  for (let i = 0; i < rgb.length; i += 3) {
    rgb[i] = red
    rgb[i + 1] = green
    rgb[i + 2] = blue
  }
  return rgb
}

/**
 * The matte of an enlarged product. Enlarged, its edge is as wide as it was enlarged, which looks blurred: it is made
 * steeper again, and a trace narrower, so that no rim of the old background is left. Noise of the scaling is removed.
 */
export function steepen(alpha: Uint8Array, scale: number): void {
  const slope = Math.min(4, Math.max(1, scale / 1.6))
  const table = Uint8Array.from({ length: 256 }, (_, value) => {
    const steep = slope === 1 ? value : (value - 132) * slope + 128
    return steep < 5 ? 0 : steep > 250 ? 255 : Math.round(steep)
  })
  for (let i = 0; i < alpha.length; i++) alpha[i] = table[alpha[i] as number] as number
}

/** A matte without the stairs of its pixels, which much enlarged and made steep would be waves. */
export function soften({ alpha, width, height }: Cut): Uint8Array {
  const around = Float32Array.from(alpha)
  mean(around, width, height, 1)
  return Uint8Array.from(around, Math.round)
}

/** Of a box with this product in it, the part that a frame shows. */
export function shownPart(box: Box, frame: { readonly width: number; readonly height: number }): Box {
  const left = Math.max(0, box.left)
  const top = Math.max(0, box.top)
  return {
    left,
    top,
    width: Math.max(0, Math.min(frame.width, box.left + box.width) - left),
    height: Math.max(0, Math.min(frame.height, box.top + box.height) - top),
  }
}
