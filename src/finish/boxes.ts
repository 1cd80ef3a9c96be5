/**
 * Means over boxes of 2 * radius + 1 pixels in one direction, by running sums: the cost does not depend on the radius. At
 * the borders only what is in the picture counts.
 */

/** Along rows, in place. */
function meanOfRows(values: Float32Array, width: number, height: number, radius: number): void {
  if (radius < 1) return
  const row = new Float32Array(width)
  for (let y = 0; y < height; y++) {
    const at = y * width
    row.set(values.subarray(at, at + width))
    let sum = 0
    for (let x = 0; x < Math.min(radius, width); x++) sum += row[x] as number
    let count = Math.min(radius, width)
    for (let x = 0; x < width; x++) {
      if (x + radius < width) {
        sum += row[x + radius] as number
        count++
      }
      if (x > radius) {
        sum -= row[x - radius - 1] as number
        count--
      }
      values[at + x] = sum / count
    }
  }
}

/** Along columns, in place. */
function meanOfColumns(values: Float32Array, width: number, height: number, radius: number): void {
  if (radius < 1) return
  const sums = new Float64Array(width)
  // the rows that the sums still need, as they were
  const kept = new Float32Array((radius + 1) * width)
  const add = (y: number) => {
    const at = y * width
    for (let x = 0; x < width; x++) sums[x] = (sums[x] as number) + (values[at + x] as number)
  }
  let count = 0
  for (let y = 0; y < Math.min(radius, height); y++, count++) add(y)
  for (let y = 0; y < height; y++) {
    if (y + radius < height) {
      add(y + radius)
      count++
    }
    if (y > radius) {
      const old = ((y - radius - 1) % (radius + 1)) * width
      for (let x = 0; x < width; x++) sums[x] = (sums[x] as number) - (kept[old + x] as number)
      count--
    }
    const at = y * width
    kept.set(values.subarray(at, at + width), (y % (radius + 1)) * width)
    for (let x = 0; x < width; x++) values[at + x] = (sums[x] as number) / count
  }
}

/** Both ways, in place. */
export function mean(values: Float32Array, width: number, height: number, radius: number): void {
  meanOfRows(values, width, height, radius)
  meanOfColumns(values, width, height, radius)
}

/** Close to a Gaussian of this standard deviation, in place: three boxes (Kovesi, "Fast Almost-Gaussian Filtering", 2010). */
export function soften(
  values: Float32Array,
  width: number,
  height: number,
  sigmas: { readonly x: number; readonly y: number },
): void {
  const radius = (sigma: number) => Math.round((Math.sqrt(4 * sigma * sigma + 1) - 1) / 2)
  for (let pass = 0; pass < 3; pass++) {
    meanOfRows(values, width, height, radius(sigmas.x))
    meanOfColumns(values, width, height, radius(sigmas.y))
  }
}
