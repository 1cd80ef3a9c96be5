/**
 * A 3x3 convolution of a picture that was enlarged to twice its size by repeating its pixels. Of the pixel (2y + down,
 * 2x + right) it sees, along each axis, rows y - 1, y, y for `down` 0 and y, y, y + 1 for `down` 1: a kernel of 2x2 over the picture
 * as it was, whose weights are sums.
 */

/** The weights along one axis that meet at each of the two places. */
const meeting = [
  [[0], [1, 2]],
  [[0, 1], [2]],
] as const

/** Where the kernel of a pixel (0 to 3, row by row) sees the picture with a border of one, from the top left of its 3x3 place. */
export function doubledTaps(pixel: number): (readonly [row: number, column: number])[] {
  const [down, right] = [pixel >> 1, pixel & 1]
  return [0, 1, 2, 3].map((tap) => [down + (tap >> 1), right + (tap & 1)] as const)
}

/** @param weights [out, channels, 9] @returns of a pixel: [out, channels, 4] */
export function doubledWeights(weights: Float32Array, pixel: number): Float32Array {
  const [rows, columns] = [meeting[pixel >> 1]!, meeting[pixel & 1]!]
  const sums = new Float32Array((weights.length / 9) * 4)
  for (let at = 0; at < sums.length; at++) {
    const from = (at >> 2) * 9
    let sum = 0
    for (const row of rows[(at >> 1) & 1]!) {
      for (const column of columns[at & 1]!) sum += weights[from + row * 3 + column]!
    }
    sums[at] = sum
  }
  return sums
}
