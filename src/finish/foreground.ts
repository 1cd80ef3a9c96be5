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
  const { share, depth } = edgeShare(cut, Math.max(2, Math.round(side / 300)))
  const trust = trustIn(share, width, height)
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
        const found = near + a * (trust[i] as number) * (seen - a * near - (1 - a) * far)
        colour[i] = found < 0 ? 0 : found > 255 ? 255 : found
        behind[i] = far
      }
    }
    for (let i = 0; i < pixels; i++) {
      if (share[i] === 1) continue
      // without a step to where the product's own colours are
      const own = Math.max(0, ((depth[i] as number) - 0.7) / 0.3) ** 2
      const at = i * 3 + channel
      out[at] = Math.round((rgb[at] as number) * own + (colour[i] as number) * (1 - own))
    }
  }
  return out
}

/**
 * How much of each pixel is surely product. Mattes are off by a pixel or so: just inside the edge a pixel counts as a
 * mixture too. What the matte itself calls a mixture, such as glass, is left to it.
 */
function edgeShare({ alpha, width, height }: Cut, radius: number) {
  const share = new Float32Array(alpha.length)
  for (let i = 0; i < alpha.length; i++) share[i] = (alpha[i] as number) / 255
  const around = Float32Array.from(share)
  mean(around, width, height, radius)
  for (let i = 0; i < share.length; i++) {
    const near = around[i] as number
    // 1 only where all around is product
    if ((share[i] as number) > 0.9) share[i] = near > 0.999 ? 1 : Math.min(share[i] as number, near * near)
  }
  return { share, depth: around }
}

/**
 * How far a pixel's own colour counts: not at an edge, where the matte's error of a fraction of a pixel would make beads of
 * light and dark; fully where the matte hardly changes, as within glass.
 */
function trustIn(share: Float32Array, width: number, height: number): Float32Array {
  const trust = new Float32Array(share.length)
  for (let y = 0; y < height; y++) {
    const above = Math.max(0, y - 1) * width
    const below = Math.min(height - 1, y + 1) * width
    for (let x = 0; x < width; x++) {
      const i = y * width + x
      const across =
        (share[y * width + Math.min(width - 1, x + 1)] as number) -
        (share[y * width + Math.max(0, x - 1)] as number)
      const down = (share[below + x] as number) - (share[above + x] as number)
      trust[i] = Math.abs(across) + Math.abs(down)
    }
  }
  mean(trust, width, height, 2)
  for (let i = 0; i < trust.length; i++) trust[i] = Math.max(0, 1 - 6 * (trust[i] as number))
  return trust
}
