import type { Colour, Cut, Raster } from './raster.ts'

/** What is measured of pictures, so that nobody has to look at each. */

/** The share of the border's pixels, one pixel wide, that have exactly this colour: 0 to 1. */
export function borderShare({ rgb, width, height }: Raster, [red, green, blue]: Colour): number {
  let exact = 0
  const look = (i: number) => {
    if (rgb[i * 3] === red && rgb[i * 3 + 1] === green && rgb[i * 3 + 2] === blue) exact++
  }
  for (let x = 0; x < width; x++) {
    look(x)
    if (height > 1) look((height - 1) * width + x)
  }
  for (let y = 1; y < height - 1; y++) {
    look(y * width)
    if (width > 1) look(y * width + width - 1)
  }
  const all = width === 1 || height === 1 ? width * height : 2 * (width + height) - 4
  return exact / all
}

/**
 * The variance of the Laplacian of the product: below about 100 a photo looks blurred, and 0 is a flat area (Pech-Pacheco,
 * "Diatom autofocusing in brightfield microscopy", 2000). Of red, green and blue the one that has most of it: pink on light
 * blue is hardly an edge in brightness. It is compared between pictures of one size.
 */
export function sharpness({ rgb, alpha, width, height }: Cut): number {
  const [sums, squares] = [new Float64Array(3), new Float64Array(3)]
  const row = 3 * width
  let count = 0
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      if ((alpha[y * width + x] as number) < 128) continue
      count++
      const at = y * row + 3 * x
      for (let c = 0; c < 3; c++) {
        const i = at + c
        const bend =
          (rgb[i - 3] as number) +
          (rgb[i + 3] as number) +
          (rgb[i - row] as number) +
          (rgb[i + row] as number) -
          4 * (rgb[i] as number)
        sums[c] = (sums[c] as number) + bend
        squares[c] = (squares[c] as number) + bend * bend
      }
    }
  }
  if (count === 0) return 0
  const variances = [0, 1, 2].map((c) => (squares[c] as number) / count - ((sums[c] as number) / count) ** 2)
  return Math.round(Math.max(...variances) * 10) / 10
}

const [across, down] = [9, 8]

/** A hash of how a picture looks: 64 comparisons of neighbouring means (Krawetz' "dHash"). */
export function lookOf({ rgb, width, height }: Raster): readonly boolean[] {
  const means = new Float64Array(across * down)
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      const [x0, x1] = spanOf(column, across, width)
      const [y0, y1] = spanOf(row, down, height)
      let sum = 0
      for (let y = y0; y < y1; y++) {
        for (let x = x0; x < x1; x++) {
          const at = (y * width + x) * 3
          sum += (rgb[at] as number) + 2 * (rgb[at + 1] as number) + (rgb[at + 2] as number)
        }
      }
      means[row * across + column] = sum / ((x1 - x0) * (y1 - y0))
    }
  }
  return Array.from({ length: (across - 1) * down }, (_, bit) => {
    const at = Math.floor(bit / (across - 1)) * across + (bit % (across - 1))
    // two means of one plain area differ by noise alone
    return (means[at] as number) > (means[at + 1] as number) + 4
  })
}

function spanOf(index: number, parts: number, side: number): [number, number] {
  const from = Math.min(side - 1, Math.floor((index * side) / parts))
  return [from, Math.max(from + 1, Math.floor(((index + 1) * side) / parts))]
}

/** How many of the 64 comparisons differ. */
export function lookDistance(a: readonly boolean[], b: readonly boolean[]): number {
  return a.reduce((count, bit, at) => (bit === b[at] ? count : count + 1), 0)
}
