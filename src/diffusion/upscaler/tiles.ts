/** Parts of a line of pixels that overlap, all of one length. */

export interface Tile {
  /** Where it begins. */
  readonly start: number
  /** The pixels that are taken from it, from and up to: those of all tiles make up the line. */
  readonly from: number
  readonly to: number
}

/**
 * The fewest tiles that cover a line. What is taken from one is at least `overlap` away from an end of it that is not an end
 * of the line.
 * @param length, tile, overlap multiples of the same number, of which all starts are multiples too
 */
export function tilesOf(length: number, tile: number, overlap: number): Tile[] {
  if (tile >= length) return [{ start: 0, from: 0, to: length }]
  const stride = tile - 2 * overlap
  if (stride <= 0) throw new RangeError(`tiles of ${tile} are too small for an overlap of ${overlap}`)
  const tiles: Tile[] = []
  let from = 0
  for (let start = 0; from < length; start += stride) {
    const last = start + tile >= length
    const to = last ? length : start + tile - overlap
    tiles.push({ start: last ? length - tile : start, from, to })
    from = to
  }
  return tiles
}
