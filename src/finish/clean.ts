/** Repairs of a matte before anything is cut with it. */

/** Weaker than this is noise of the network, stronger is a part of the product. */
const [none, all] = [10, 245]
/** What is part of a piece. */
const partOfPiece = 24
/** A piece with a smaller share of the largest piece is dropped: a crumb, or a rest of a shadow. */
const crumb = 0.03
/** A product has at least this share of the picture. */
const least = 0.0015

/**
 * The matte without its noise, and without small pieces apart from the product. Holes stay, and so do several products.
 * All 0 if there is no product. Pieces touch by sides and corners.
 */
export function cleanMatte(matte: Uint8Array, width: number, height: number): Uint8Array {
  const alpha = new Uint8Array(matte.length)
  const scale = 255 / (all - none)
  for (let i = 0; i < matte.length; i++) {
    // a Uint8Array would wrap around
    alpha[i] = Math.min(255, Math.max(0, Math.round(((matte[i] as number) - none) * scale)))
  }
  const { labels, weights } = pieces(alpha, width, height)
  let largest = 0
  for (const weight of weights) if (weight > largest) largest = weight
  const enough = Math.max(largest * crumb, least * width * height)
  for (let i = 0; i < alpha.length; i++) {
    const label = labels[i] as number
    if (label === 0) {
      // the soft edge of a piece is not labelled: it stays if a kept piece is beside it
      if (alpha[i] !== 0 && !besidesKept(labels, weights, enough, i, width, height)) alpha[i] = 0
    } else if ((weights[label] as number) < enough) alpha[i] = 0
  }
  return alpha
}

function besidesKept(
  labels: Int32Array,
  weights: readonly number[],
  enough: number,
  i: number,
  width: number,
  height: number,
): boolean {
  const x = i % width
  const y = (i - x) / width
  for (let ny = Math.max(0, y - 2); ny <= Math.min(height - 1, y + 2); ny++) {
    for (let nx = Math.max(0, x - 2); nx <= Math.min(width - 1, x + 2); nx++) {
      const label = labels[ny * width + nx] as number
      if (label !== 0 && (weights[label] as number) >= enough) return true
    }
  }
  return false
}

/** Numbers the pieces from 1; `weights` has the pixels of each. */
function pieces(alpha: Uint8Array, width: number, height: number) {
  const labels = new Int32Array(alpha.length)
  const weights = [0]
  const stack = new Int32Array(alpha.length)
  for (let start = 0; start < alpha.length; start++) {
    if (labels[start] !== 0 || (alpha[start] as number) < partOfPiece) continue
    const label = weights.length
    let weight = 0
    let depth = 0
    stack[depth++] = start
    labels[start] = label
    while (depth > 0) {
      const i = stack[--depth] as number
      weight += (alpha[i] as number) / 255
      const x = i % width
      const y = (i - x) / width
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx
          if (labels[next] !== 0 || (alpha[next] as number) < partOfPiece) continue
          labels[next] = label
          stack[depth++] = next
        }
      }
    }
    weights.push(weight)
  }
  return { labels, weights }
}
