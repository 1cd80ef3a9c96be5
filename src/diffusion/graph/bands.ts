/** Of work on rows. */
export interface Band {
  /** Its first row. */
  readonly top: number
  /** How many. */
  readonly rows: number
}

/** What a band of a layer holds takes so many bytes at most, if a row does: processors have caches of that size, and a large picture needs less memory. */
const bandBytes = 24 * 2 ** 20

/** As many bands as their memory needs. @param rowBytes what one row takes while a layer is computed */
export function bandsFor(rows: number, rowBytes: number): Band[] {
  return bandsOf(rows, Math.min(rows, Math.ceil((rows * rowBytes) / bandBytes)))
}

/** So many bands, which differ by one row at most. */
export function bandsOf(rows: number, count: number): Band[] {
  const begin = (band: number) => Math.round((band * rows) / count)
  return Array.from({ length: count }, (_, band) => ({
    top: begin(band),
    rows: begin(band + 1) - begin(band),
  }))
}
