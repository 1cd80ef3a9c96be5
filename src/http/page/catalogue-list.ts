import { faultList } from '../../jobs/catalogue/fault-list.ts'
import { listFault, readList, tooManyRows } from '../../jobs/catalogue/list.ts'
import { isJobIdShaped } from '../../jobs/job-id.ts'
import { describeValue } from '../../jobs/wording.ts'

/**
 * The list as people type it: CSV whose first line names the columns, or a product in each line, as `sku; product; photo` or
 * as the words alone. `{sku}`, `{product}` and `{photo}` work for each, whatever its columns are called.
 */

/** What columns are called, the best name first. The first line is a header if it has one of these. */
export const columnNames = {
  sku: ['sku', 'id', 'article', 'ean', 'gtin', 'number'],
  product: ['product', 'title', 'name', 'prompt', 'description'],
  photo: ['photo', 'image', 'picture', 'file'],
} as const

const headers: readonly string[] = Object.values(columnNames).flat()

export interface Products {
  readonly rows: readonly Readonly<Record<string, string>>[]
  /** Some have a photo. `{keep}` is then `product` for those. */
  readonly photos: boolean
}

interface ListOptions {
  /** The texts that name columns: a first line with one of them is a header too. */
  readonly texts: readonly string[]
  /** Ids of the uploads by the names of their files. */
  readonly photos: Readonly<Record<string, string>>
  readonly mostRows: number
}

/** Throws `invalid_request` with a fault for each row that is wrong. */
export async function readProducts(text: string, options: ListOptions): Promise<Products> {
  if (text.trim() === '') throw listFault('csv', 'The list is empty: write a product in each line.')
  const faults = faultList()
  const { mostRows } = options
  const lines = isTable(text, options.texts) ? undefined : plainRows(text, mostRows)
  const { columns, rows } = lines ?? (await readList({ csv: text }, mostRows, faults))
  const place = (kind: keyof typeof columnNames) =>
    columnNames[kind]
      .map((name) => columns.findIndex((each) => each.toLowerCase() === name))
      .find((at) => at >= 0)
  const [sku, product, photo] = [place('sku'), place('product'), place('photo')]
  const others = columns.findLastIndex((_, at) => at !== sku && at !== photo)
  const digits = String(rows.length).length
  let photos = false
  const named = rows.map((cells, index) => {
    const row = index + 1
    const words = (cells[product ?? others] ?? '').trim()
    const file = (photo === undefined ? '' : (cells[photo] ?? '')).trim()
    const id = Object.hasOwn(options.photos, file) ? (options.photos[file] ?? '') : file
    if (id !== '' && !isJobIdShaped(id)) {
      const message = `Row ${row}: the photo ${describeValue(file)} was not chosen: add it below the list.`
      faults.note({ row, param: 'photo', message })
    }
    if (words === '' && id === '')
      faults.note({ row, param: 'product', message: `Row ${row} names no product.` })
    photos ||= id !== ''
    const shown = words === '' ? 'the product' : words
    return {
      ...Object.fromEntries(columns.map((name, at) => [name, at === product ? shown : (cells[at] ?? '')])),
      sku: (sku === undefined ? '' : (cells[sku] ?? '')).trim() || String(row).padStart(digits, '0'),
      product: shown,
      photo: id,
      keep: id === '' ? '' : 'product',
    }
  })
  faults.check()
  if (named.length === 0) throw listFault('csv', 'The list has no rows.')
  return { rows: named, photos }
}

function isTable(text: string, texts: readonly string[]): boolean {
  const [line = ''] = text.replace(/^\ufeff/, '').split(/[\r\n]/, 1)
  const cells = line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"|"$/g, ''))
  return cells.some(
    (cell) =>
      headers.includes(cell.toLowerCase()) ||
      (cell !== '' && texts.some((each) => each.includes(`{${cell}}`))),
  )
}

/** Commas belong to the words of a product. */
function plainRows(
  text: string,
  mostRows: number,
): { columns: readonly string[]; rows: readonly (readonly string[])[] } {
  const lines = text.split(/[\r\n]+/).filter((line) => line.trim() !== '')
  if (lines.length > mostRows) throw tooManyRows('csv', mostRows)
  const rows = lines.map((line) => {
    const cells = line.split(/[;\t]/)
    return cells.length === 1 ? ['', line] : cells
  })
  return { columns: ['sku', 'product', 'photo'], rows }
}
