import type { Cut, Raster } from '../../finish/raster.ts'
import { widened } from './cut.ts'

/**
 * A model that draws around a kept product often draws a product of its own there, larger or beside it, whose parts
 * stand out behind the kept one. They are taken away: what the matte of the drawn picture calls product, and is
 * connected with the kept one, is filled from the set around. Other things in the set stay.
 */

/** From here on the matte of the drawn picture means product. */
const seen = 48
const solid = 128
/** With less of a set there is nothing to fill from. */
const leastSet = 0.2

/**
 * @param kept the product in the size that is drawn
 * @param matte of the drawn picture
 */
export function withoutGhost(drawn: Raster, kept: Pick<Cut, 'alpha'>, matte: Uint8Array): Raster {
  const { rgb, width, height } = drawn
  const gone = connected(matte, kept.alpha, width, height)
  const reach = Math.max(2, Math.round(Math.min(width, height) / 64))
  const hidden = widened(gone, drawn, reach)
  let set = 0
  for (const value of hidden) if (value === 0) set += 1
  if (set < leastSet * hidden.length) return drawn
  return { rgb: filled(rgb, hidden, width, height), width, height }
}

/** 1 for the kept product and all product that touches it. */
function connected(matte: Uint8Array, kept: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(kept.length)
  const stack: number[] = []
  for (let i = 0; i < kept.length; i += 1) {
    if ((kept[i] ?? 0) < solid) continue
    out[i] = 1
    stack.push(i)
  }
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const x = at % width
    const y = (at - x) / width
    for (const [nx, ny] of [
      [x - 1, y],
      [x + 1, y],
      [x, y - 1],
      [x, y + 1],
    ] as const) {
      if (nx < 0 || ny < 0 || nx >= width || ny >= height) continue
      const next = ny * width + nx
      if (out[next] === 1 || (matte[next] ?? 0) < seen) continue
      out[next] = 1
      stack.push(next)
    }
  }
  return out
}

/**
 * Fills the hidden pixels smoothly from the others: means of what is known in ever larger squares, then back to the fine
 * (Gortler et al., "The Lumigraph", 1996: pull and push).
 */
function filled(rgb: Uint8Array, hidden: Uint8Array, width: number, height: number): Uint8Array {
  const known = Float32Array.from(hidden, (value) => 1 - value)
  const colours = Float32Array.from(rgb, (value, i) => value * (known[Math.floor(i / 3)] ?? 0))
  const whole = pulled({ colours, known, width, height })
  return rgb.map((value, i) => (hidden[Math.floor(i / 3)] === 1 ? Math.round(whole[i] ?? 0) : value))
}

interface Level {
  /** Multiplied by `known`. */
  readonly colours: Float32Array
  readonly known: Float32Array
  readonly width: number
  readonly height: number
}

/** The colours of all pixels. */
function pulled(level: Level): Float32Array {
  const { colours, known, width, height } = level
  if (width <= 1 && height <= 1) {
    const share = Math.max(known[0] ?? 0, 1e-6)
    return colours.map((value) => value / share)
  }
  const small = half(level)
  const coarse = pulled(small)
  const out = new Float32Array(colours.length)
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      const share = Math.min(1, known[i] ?? 0)
      for (let c = 0; c < 3; c += 1) {
        const own = colours[i * 3 + c] ?? 0
        out[i * 3 + c] = share >= 1 ? own : own + (1 - share) * between(coarse, small, x, y, c)
      }
    }
  }
  return out
}

function half({ colours, known, width, height }: Level): Level {
  const [w, h] = [Math.ceil(width / 2), Math.ceil(height / 2)]
  const out = { colours: new Float32Array(w * h * 3), known: new Float32Array(w * h), width: w, height: h }
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      const at = (y >> 1) * w + (x >> 1)
      out.known[at] = (out.known[at] ?? 0) + (known[i] ?? 0)
      for (let c = 0; c < 3; c += 1) {
        out.colours[at * 3 + c] = (out.colours[at * 3 + c] ?? 0) + (colours[i * 3 + c] ?? 0)
      }
    }
  }
  // a square with any known pixel counts as known: more would weigh large areas twice
  for (let at = 0; at < w * h; at += 1) {
    const sum = out.known[at] ?? 0
    if (sum <= 1) continue
    out.known[at] = 1
    for (let c = 0; c < 3; c += 1) out.colours[at * 3 + c] = (out.colours[at * 3 + c] ?? 0) / sum
  }
  return out
}

/** Of the level with half the sides, between its pixels. */
function between(values: Float32Array, { width, height }: Level, x: number, y: number, c: number): number {
  const [fx, fy] = [(x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5]
  const [x0, y0] = [Math.max(0, Math.floor(fx)), Math.max(0, Math.floor(fy))]
  const [x1, y1] = [Math.min(width - 1, x0 + 1), Math.min(height - 1, y0 + 1)]
  const [u, v] = [Math.max(0, fx - x0), Math.max(0, fy - y0)]
  const value = (column: number, row: number) => values[(row * width + column) * 3 + c] ?? 0
  const above = value(x0, y0) * (1 - u) + value(x1, y0) * u
  const below = value(x0, y1) * (1 - u) + value(x1, y1) * u
  return above * (1 - v) + below * v
}
