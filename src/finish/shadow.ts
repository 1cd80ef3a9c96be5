import { soften } from './boxes.ts'
import { type Box, solid } from './raster.ts'

/**
 * Shadows drawn from the matte: where the product stands, not an ellipse under it. Computed small, since they are soft.
 */

export type ShadowKind = 'contact' | 'soft'

/** How dark each pixel of a frame is: 0 not at all, 1 black. Coarse: `step` pixels of the frame are one here. */
export interface Shade {
  readonly dark: Float32Array
  readonly width: number
  readonly height: number
  readonly step: number
}

/** Of the longer side of the coarse shadow. */
const coarseSide = 400
/** What of the product's height still touches the ground: seen a little from above, a foot has a depth. */
const footDepth = 0.16
const strengths = { contact: 0.55, soft: 0.3 }
/** The border stays clean: the shadow ends before it. In parts of the frame's side. */
const clear = 0.012

/** @param box of the product's matte in the frame; it may be partly outside */
export function shade(
  kind: ShadowKind,
  alpha: Uint8Array,
  box: Box,
  frame: { readonly width: number; readonly height: number },
): Shade {
  const step = Math.max(1, Math.ceil(Math.max(frame.width, frame.height) / coarseSide))
  const width = Math.ceil(frame.width / step)
  const height = Math.ceil(frame.height / step)
  const dark = new Float32Array(width * height)
  const feet = footOf(alpha, box.width, box.height)
  if (feet === undefined) return { dark, width, height, step }
  const { lowest, first, last, highest } = feet
  const tall = lowest - highest + 1
  const wide = last - first + 1
  const reach = Math.max(2, tall * footDepth)
  const depth = kind === 'contact' ? Math.max(1, wide * 0.02) : Math.max(2, wide * 0.07)
  for (let x = first; x <= last; x++) {
    const foot = feet.bottoms[x] as number
    if (foot < 0) continue
    // the higher a column ends above the ground, the less it touches it
    const lift = (lowest - foot) / (kind === 'contact' ? reach : reach * 2.5)
    if (lift >= 1) continue
    const weight = (1 - lift) * (1 - lift)
    const cx = Math.floor((box.left + x) / step)
    if (cx < 0 || cx >= width) continue
    const middle = box.top + foot
    const from = Math.max(0, Math.floor((middle - depth) / step))
    const to = Math.min(height - 1, Math.floor((middle + depth) / step))
    for (let y = from; y <= to; y++) {
      const at = y * width + cx
      if (weight > (dark[at] as number)) dark[at] = weight
    }
  }
  const spread = (kind === 'contact' ? 0.02 : 0.06) * wide
  soften(dark, width, height, { x: Math.max(1, spread / step), y: Math.max(1, (spread * 0.45) / step) })
  const most = peak(dark)
  const strength = most === 0 ? 0 : strengths[kind] / most
  fade(dark, width, height, strength)
  return { dark, width, height, step }
}

/** The lowest solid pixel of each column, -1 where there is none. */
function footOf(alpha: Uint8Array, width: number, height: number) {
  const bottoms = new Int32Array(width).fill(-1)
  let [lowest, highest, first, last] = [-1, height, width, -1]
  for (let y = 0; y < height; y++) {
    const at = y * width
    for (let x = 0; x < width; x++) {
      if ((alpha[at + x] as number) < solid) continue
      bottoms[x] = y
      lowest = y
      if (y < highest) highest = y
      if (x < first) first = x
      if (x > last) last = x
    }
  }
  return lowest < 0 ? undefined : { bottoms, lowest, highest, first, last }
}

function peak(values: Float32Array): number {
  let most = 0
  for (const value of values) if (value > most) most = value
  return most
}

/** Scales, and lets it end before the border. */
function fade(dark: Float32Array, width: number, height: number, strength: number): void {
  const free = Math.max(1, Math.round(Math.max(width, height) * clear))
  for (let y = 0; y < height; y++) {
    const fromEdge = Math.min(y, height - 1 - y)
    for (let x = 0; x < width; x++) {
      const edge = Math.min(fromEdge, x, width - 1 - x)
      const share = edge <= free ? 0 : Math.min(1, (edge - free) / (3 * free))
      const at = y * width + x
      const value = (dark[at] as number) * strength * share
      // what cannot be seen would only make white pixels 254
      dark[at] = value < 0.006 ? 0 : value
    }
  }
}

/** One row of the frame, between the coarse values. */
export function rowOfShade({ dark, width, height, step }: Shade, y: number, out: Float32Array): boolean {
  const fy = Math.min(height - 1, Math.max(0, (y + 0.5) / step - 0.5))
  const y0 = Math.floor(fy)
  const y1 = Math.min(height - 1, y0 + 1)
  const v = fy - y0
  let any = false
  const row = new Float32Array(width)
  for (let x = 0; x < width; x++) {
    const value = (dark[y0 * width + x] as number) * (1 - v) + (dark[y1 * width + x] as number) * v
    row[x] = value
    if (value > 0) any = true
  }
  if (!any) return false
  for (let x = 0; x < out.length; x++) {
    const fx = Math.min(width - 1, Math.max(0, (x + 0.5) / step - 0.5))
    const x0 = Math.floor(fx)
    const u = fx - x0
    out[x] = (row[x0] as number) * (1 - u) + (row[Math.min(width - 1, x0 + 1)] as number) * u
  }
  return true
}
