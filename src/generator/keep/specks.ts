import type { Size } from './frame.ts'

/** Cells along the longer side: specks are found in a small picture, which costs nothing. */
const cells = 192
const visible = 16
const opaque = 128
/** Of the largest part. Several products are kept, crumbs are not. */
const leastShare = 0.02

/** The matte without what is far too small to be a product and does not touch one. Changes `alpha`. */
export function withoutSpecks(alpha: Uint8Array, { width, height }: Size): Uint8Array {
  const cell = Math.max(1, Math.ceil(Math.max(width, height) / cells))
  const [columns, rows] = [Math.ceil(width / cell), Math.ceil(height / cell)]
  const seen = new Uint8Array(columns * rows)
  const solid = new Uint32Array(columns * rows)
  forEachPixel(width, height, cell, columns, (pixel, at) => {
    const value = alpha[pixel] ?? 0
    if (value >= visible) seen[at] = 1
    if (value >= opaque) solid[at] = (solid[at] ?? 0) + 1
  })
  const { part, sizes } = partsOf(seen, solid, columns, rows)
  const least = leastShare * Math.max(0, ...sizes)
  forEachPixel(width, height, cell, columns, (pixel, at) => {
    const of = part[at] ?? 0
    if (of !== 0 && (sizes[of] ?? 0) < least) alpha[pixel] = 0
  })
  return alpha
}

function forEachPixel(
  width: number,
  height: number,
  cell: number,
  columns: number,
  visit: (pixel: number, cell: number) => void,
): void {
  for (let y = 0, pixel = 0; y < height; y += 1) {
    const row = Math.floor(y / cell) * columns
    for (let x = 0; x < width; x += 1, pixel += 1) visit(pixel, row + Math.floor(x / cell))
  }
}

/** Cells that touch, corners included, are one part; parts are numbered from 1. */
function partsOf(seen: Uint8Array, solid: Uint32Array, columns: number, rows: number) {
  const part = new Uint32Array(seen.length)
  const sizes = [0]
  for (let first = 0; first < seen.length; first += 1) {
    if (seen[first] === 0 || part[first] !== 0) continue
    const number = sizes.length
    let size = 0
    const stack = [first]
    part[first] = number
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      size += solid[at] ?? 0
      const [x, y] = [at % columns, Math.floor(at / columns)]
      for (let down = Math.max(0, y - 1); down <= Math.min(rows - 1, y + 1); down += 1) {
        for (let across = Math.max(0, x - 1); across <= Math.min(columns - 1, x + 1); across += 1) {
          const next = down * columns + across
          if (seen[next] === 0 || part[next] !== 0) continue
          part[next] = number
          stack.push(next)
        }
      }
    }
    sizes.push(size)
  }
  return { part, sizes }
}
