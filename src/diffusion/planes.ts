import type { Picture } from './request.ts'

/** From interleaved bytes to planes of -1 to 1, [1, 3, height, width]. */
export function toPlanes({ rgb, width, height }: Picture): Float32Array {
  const pixels = width * height
  const planes = new Float32Array(3 * pixels)
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < pixels; i++) {
      planes[channel * pixels + i] = 2 * Math.fround(rgb[i * 3 + channel]! / 255) - 1
    }
  }
  return planes
}

/** From planes of -1 to 1 to interleaved bytes. */
export function toPicture(planes: Float32Array, width: number, height: number): Picture {
  const pixels = width * height
  const rgb = new Uint8Array(pixels * 3)
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < pixels; i++) {
      const value = planes[channel * pixels + i]! / 2 + 0.5
      rgb[i * 3 + channel] = Math.round(Math.min(Math.max(value, 0), 1) * 255)
    }
  }
  return { rgb, width, height }
}
