import type { Box } from '../../finish/raster.ts'
import type { Size } from './frame.ts'

/**
 * A part of a picture. What lies beyond its edges is 0, or repeats the edge: a model that draws around a product must
 * not see a black bar.
 * @param channels bytes per pixel
 */
export function cut(
  pixels: Uint8Array,
  { width, height }: Size,
  box: Box,
  { channels, beyond }: { readonly channels: number; readonly beyond: 'nothing' | 'edge' },
): Uint8Array {
  const out = new Uint8Array(box.width * box.height * channels)
  // columns of the box that are in the picture
  const first = Math.min(Math.max(0, -box.left), box.width)
  const last = Math.max(first, Math.min(box.width, width - box.left))
  for (let y = 0; y < box.height; y += 1) {
    const wanted = box.top + y
    const row = Math.min(Math.max(wanted, 0), height - 1)
    if (beyond === 'nothing' && row !== wanted) continue
    const [from, to] = [(row * width + box.left) * channels, y * box.width * channels]
    out.set(pixels.subarray(from + first * channels, from + last * channels), to + first * channels)
    if (beyond === 'nothing') continue
    const left = row * width * channels
    const right = (row * width + width - 1) * channels
    for (let x = 0; x < first; x += 1) out.set(pixels.subarray(left, left + channels), to + x * channels)
    for (let x = last; x < box.width; x += 1)
      out.set(pixels.subarray(right, right + channels), to + x * channels)
  }
  return out
}

/**
 * The mask for the model: 255 is drawn. It reaches a few pixels into the product, whose edge has the light of the old
 * set; the product's own pixels are put over it afterwards.
 */
export function maskAround(alpha: Uint8Array, { width, height }: Size): Uint8Array {
  const reach = Math.max(1, Math.round(Math.min(width, height) / 128))
  const solid = alpha.map((value) => (value >= 128 ? 1 : 0))
  const rows = least(solid, { width, height }, reach, 1, width)
  const both = least(rows, { width, height }, reach, width, height)
  return both.map((value) => (value === 1 ? 0 : 255))
}

/** Of zeros and ones: 1 wherever there is a 1 within `reach` pixels, across and down. */
export function widened(values: Uint8Array, size: Size, reach: number): Uint8Array {
  const { width, height } = size
  const none = values.map((value) => 1 - value)
  const both = least(least(none, size, reach, 1, width), size, reach, width, height)
  return both.map((value) => 1 - value)
}

/** The least value within `reach` in one direction, whose neighbours are `step` apart. Beyond the picture nothing counts. */
function least(
  values: Uint8Array,
  { width, height }: Size,
  reach: number,
  step: number,
  length: number,
): Uint8Array {
  const out = new Uint8Array(values.length)
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      const at = step === 1 ? x : y
      let low = 1
      for (let d = Math.max(-reach, -at); d <= Math.min(reach, length - 1 - at); d += 1) {
        low = Math.min(low, values[i + d * step] ?? 1)
      }
      out[i] = low
    }
  }
  return out
}
