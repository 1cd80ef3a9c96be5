import { mean } from './boxes.ts'
import type { Cut } from './raster.ts'

/**
 * The product's own colours. At its edge a pixel is a mixture of product and the old background, which shows as a rim on
 * a new one. Blur-fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021) estimates both from what is
 * around, coarse and then fine; outside the product its colours go on, so that scaling mixes in nothing foreign.
 */
export function foreground(cut: Cut): Uint8Array {
  const { rgb, width, height } = cut
  const side = Math.max(width, height)
  const share = edgeShare(cut, Math.max(1, Math.round(side / 400)))
  const out = new Uint8Array(rgb)
  const pixels = width * height
  const radii = [Math.max(6, Math.round(side / 14)), Math.max(2, Math.round(side / 160))]
  const shares = radii.map((radius) => {
    const around = Float32Array.from(share)
    mean(around, width, height, radius)
    return around
  })
  const product = new Float32Array(pixels)
  const ground = new Float32Array(pixels)
  const colour = new Float32Array(pixels)
  const behind = new Float32Array(pixels)
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < pixels; i++) {
      const value = rgb[i * 3 + channel] as number
      colour[i] = value
      behind[i] = value
    }
    for (const [pass, radius] of radii.entries()) {
      const around = shares[pass] as Float32Array
      for (let i = 0; i < pixels; i++) {
        const a = share[i] as number
        product[i] = (colour[i] as number) * a
        ground[i] = (behind[i] as number) * (1 - a)
      }
      mean(product, width, height, radius)
      mean(ground, width, height, radius)
      for (let i = 0; i < pixels; i++) {
        const a = share[i] as number
        const b = around[i] as number
        const near = (product[i] as number) / (b + 1e-5)
        const far = (ground[i] as number) / (1 - b + 1e-5)
        const seen = rgb[i * 3 + channel] as number
        const found = near + a * (seen - a * near - (1 - a) * far)
        colour[i] = found < 0 ? 0 : found > 255 ? 255 : found
        behind[i] = far
      }
    }
    for (let i = 0; i < pixels; i++) {
      if (share[i] !== 1) out[i * 3 + channel] = Math.round(colour[i] as number)
    }
  }
  return out
}

/**
 * How much of each pixel is surely product. Mattes are off by a pixel or so: just inside the edge a pixel counts as a
 * mixture too. What the matte itself calls a mixture, such as glass, is left to it.
 */
function edgeShare({ alpha, width, height }: Cut, radius: number): Float32Array {
  const share = new Float32Array(alpha.length)
  for (let i = 0; i < alpha.length; i++) share[i] = (alpha[i] as number) / 255
  const around = Float32Array.from(share)
  mean(around, width, height, radius)
  for (let i = 0; i < share.length; i++) {
    const near = around[i] as number
    // 1 only where all around is product
    if ((share[i] as number) > 0.9) share[i] = near > 0.999 ? 1 : Math.min(share[i] as number, near * near)
  }
  return share
}
