import { type CsvError, parse as parser } from 'csv-parse'
import { AppError, type Fault } from '../errors.ts'
import { describeValue } from '../wording.ts'
import { breather } from './breather.ts'
import type { FaultList } from './fault-list.ts'

/** A list of products as it was sent: rows of cells under named columns, all of them text. */

export interface List {
  readonly columns: readonly string[]
  /** In the order of the columns; an absent cell is empty. */
  readonly rows: readonly (readonly string[])[]
}

const listLimits = {
  columns: 100,
  columnCharacters: 100,
  /** Characters of a row, quotes included. */
  rowCharacters: 65_536,
}

/** The three ways to send a list. */
export interface SentList {
  readonly csv?: unknown
  readonly rows?: unknown
  readonly jsonl?: unknown
}

/**
 * Reads a list and notes what is wrong with it. Long lists are read in slices, so that the event loop goes on.
 * Throws `invalid_request` for what cannot be read at all.
 */
export async function readList(sent: SentList, mostRows: number, faults: FaultList): Promise<List> {
  const given = (['csv', 'rows', 'jsonl'] as const).filter((name) => sent[name] !== undefined)
  const [kind] = given
  if (kind === undefined || given.length > 1) {
    const said = kind === undefined ? 'none was there' : `there were ${given.join(' and ')}`
    throw listFault(kind ?? 'csv', `The list must be in one of csv, rows and jsonl, but ${said}.`)
  }
  const value = sent[kind]
  if (kind === 'rows') {
    if (!Array.isArray(value)) throw listFault(kind, `rows must be a list, but was ${describeValue(value)}.`)
    return readObjects(kind, value, mostRows, faults)
  }
  if (typeof value !== 'string')
    throw listFault(kind, `${kind} must be text, but was ${describeValue(value)}.`)
  return kind === 'csv' ? readCsv(value, mostRows, faults) : readLines(value, mostRows, faults)
}

export function listFault(param: string, message: string): AppError {
  const faults: Fault[] = [{ param, message }]
  return new AppError('invalid_request', message, { param, faults })
}

export function tooManyRows(param: string, most: number): AppError {
  return listFault(param, `The list must have at most ${most} rows, but has more.`)
}

const sliceCharacters = 32_768

interface Row {
  readonly record: string[]
  readonly info: { readonly lines: number }
}

/**
 * RFC 4180, with a byte order mark or without, lines that end in CRLF, LF or CR, and commas, semicolons or tabs: what the
 * header has most of. Lines without any text are left out, and not counted.
 */
async function readCsv(text: string, mostRows: number, faults: FaultList): Promise<List> {
  checkLines(text)
  const reader = parser({
    bom: true,
    delimiter: separatorOf(text),
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_empty_values: true,
    max_record_size: listLimits.rowCharacters,
  })
  const rows: string[][] = []
  let columns: readonly string[] | undefined
  let fault: unknown
  reader.on('error', (thrown) => {
    fault = thrown
  })
  const take = () => {
    for (let row: Row | null = reader.read(); row !== null; row = reader.read()) {
      if (columns === undefined) {
        columns = checkColumns(
          'csv',
          row.record.map((name) => name.trim()),
        )
        continue
      }
      if (rows.length === mostRows) throw tooManyRows('csv', mostRows)
      rows.push(row.record)
      if (row.record.length === columns.length) continue
      const message = `has ${row.record.length} cells where the header has ${columns.length} (up to line ${row.info.lines}). A cell with a separator in it must be in quotes.`
      faults.note({ row: rows.length, param: 'csv', message: `Row ${rows.length} ${message}` })
    }
  }
  const breathe = breather()
  for (let at = 0; at < text.length && fault === undefined; at += sliceCharacters) {
    reader.write(text.slice(at, at + sliceCharacters))
    take()
    await breathe()
  }
  if (fault === undefined) {
    const ended = Promise.withResolvers<void>()
    reader.once('end', ended.resolve).once('error', () => ended.resolve())
    reader.end()
    reader.on('readable', () => {
      try {
        take()
      } catch (thrown) {
        ended.reject(thrown)
      }
    })
    await ended.promise
  }
  if (fault !== undefined) throw csvFault(fault as CsvError, rows.length)
  if (columns === undefined)
    throw listFault('csv', 'The list is empty: its first line must name the columns.')
  return { columns, rows }
}

/** The parser counts what is in cells: a million empty ones are nothing to it. */
function checkLines(text: string): void {
  const most = listLimits.rowCharacters
  for (let at = 0; at < text.length; at += most / 2) {
    if (/[\r\n]/.test(text.slice(at, at + most / 2))) continue
    const start = Math.max(text.lastIndexOf('\n', at), text.lastIndexOf('\r', at))
    const length = text.slice(at, at + most).search(/[\r\n]/)
    if (length >= 0 ? at + length - start <= most : text.length - start <= most) continue
    const line = text.slice(0, at).split(/\r\n|\r|\n/).length
    throw listFault('csv', rowTooLong(`line ${line}`))
  }
}

function rowTooLong(where: string): string {
  return `A row has more than ${listLimits.rowCharacters} characters: see ${where}. Perhaps a quote is not closed.`
}

function separatorOf(text: string): string {
  let quoted = false
  const counts = new Map<string, number>([',', ';', '\t'].map((each) => [each, 0]))
  for (let at = 0; at < Math.min(text.length, listLimits.rowCharacters); at += 1) {
    const character = text[at] as string
    if (character === '"') quoted = !quoted
    else if (!quoted && (character === '\n' || character === '\r')) break
    else if (!quoted) {
      const count = counts.get(character)
      if (count !== undefined) counts.set(character, count + 1)
    }
  }
  return [...counts].reduce((best, each) => (each[1] > best[1] ? each : best))[0]
}

function csvFault({ code, lines, message }: CsvError, rows: number): AppError {
  const where = typeof lines === 'number' ? `line ${lines}` : `the row after row ${rows}`
  const why: Record<string, string> = {
    CSV_QUOTE_NOT_CLOSED: `A quote is opened and not closed: see ${where}.`,
    CSV_INVALID_CLOSING_QUOTE: `After a closing quote a separator must follow: see ${where}. A quote within a quoted cell is written twice.`,
    INVALID_OPENING_QUOTE: `A quote is in the middle of a cell: see ${where}. Put the cell in quotes, and write the quote within it twice.`,
    CSV_MAX_RECORD_SIZE: rowTooLong(where),
  }
  return listFault('csv', why[code] ?? `The list is not CSV: ${message.slice(0, 200)}`)
}

async function readLines(text: string, mostRows: number, faults: FaultList): Promise<List> {
  const values: unknown[] = []
  const breathe = breather()
  let at = text.startsWith('\ufeff') ? 1 : 0
  while (at < text.length) {
    const end = text.indexOf('\n', at)
    const line = text.slice(at, end < 0 ? undefined : end).trim()
    at = end < 0 ? text.length : end + 1
    if (line === '') continue
    if (values.length === mostRows) throw tooManyRows('jsonl', mostRows)
    values.push(line.length > listLimits.rowCharacters ? undefined : parsed(line))
    await breathe()
  }
  return readObjects('jsonl', values, mostRows, faults)
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

async function readObjects(
  param: 'rows' | 'jsonl',
  values: readonly unknown[],
  mostRows: number,
  faults: FaultList,
): Promise<List> {
  if (values.length > mostRows) throw tooManyRows(param, mostRows)
  const places = new Map<string, number>()
  const rows: string[][] = []
  const breathe = breather()
  for (const value of values) {
    const row = rows.length + 1
    const cells: string[] = []
    rows.push(cells)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      const said = param === 'jsonl' && value === undefined ? 'was no JSON' : `was ${describeValue(value)}`
      faults.note({
        row,
        param,
        message: `Row ${row} must be an object such as {"sku": "A-1"}, but ${said}.`,
      })
      continue
    }
    for (const [key, cell] of Object.entries(value)) {
      const name = key.trim()
      const place = places.get(name) ?? places.size
      if (place >= listLimits.columns) throw tooManyColumns(param)
      places.set(name, place)
      const text = textOf(cell)
      if (text === undefined) {
        const message = `Row ${row}: ${describeValue(name)} must be text, a number, true, false or null, but was ${describeValue(cell)}.`
        faults.note({ row, param: nameShown(name), message })
      } else cells[place] = text
    }
    await breathe()
  }
  const columns = checkColumns(param, [...places.keys()])
  return { columns, rows: rows.map((cells) => Array.from(columns, (_, place) => cells[place] ?? '')) }
}

function textOf(cell: unknown): string | undefined {
  if (cell === null) return ''
  if (typeof cell === 'string') return cell.slice(0, listLimits.rowCharacters)
  return typeof cell === 'number' || typeof cell === 'boolean' ? String(cell) : undefined
}

function tooManyColumns(param: string): AppError {
  return listFault(param, `The list must have at most ${listLimits.columns} columns, but has more.`)
}

function checkColumns(param: string, names: readonly string[]): readonly string[] {
  if (names.length > listLimits.columns) throw tooManyColumns(param)
  const wrong = names.flatMap((name, index): Fault[] => {
    const which = `Column ${index + 1}`
    const fault = (message: string) => [{ param, message }]
    if (name === '') return fault(`${which} has no name: the first line must name every column.`)
    if (name.length > listLimits.columnCharacters)
      return fault(`${which} has a name of more than ${listLimits.columnCharacters} characters.`)
    if (/[\p{Cc}{}]/u.test(name))
      return fault(`${which} has a name with braces or control characters: ${describeValue(name)}.`)
    const first = names.indexOf(name)
    if (first === index) return []
    return fault(`Columns ${first + 1} and ${index + 1} have the same name, ${describeValue(name)}.`)
  })
  const [first] = wrong
  if (first === undefined) return names
  const message = wrong.map((each) => each.message).join(' ')
  throw new AppError('invalid_request', message, { param, faults: wrong })
}

function nameShown(name: string): string {
  return /^[\p{L}\p{N}_ -]{1,60}$/u.test(name) ? name : describeValue(name)
}
