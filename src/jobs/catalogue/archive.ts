import type { Readable } from 'node:stream'
import type { ImageStore } from '../ports.ts'
import { partsOf } from './documents.ts'
import { type ItemView, itemsOfPart, type Run, type ViewDeps } from './view.ts'
import { zipStream } from './zip-stream.ts'

/** The result of a run as files: a CSV of what there is, and a ZIP of the pictures with that CSV in it. */

export interface ArchiveDeps extends ViewDeps {
  readonly images: ImageStore
}

const columns = ['file', 'row', 'variant', 'status', 'seed', 'link', 'sha256', 'bytes', 'error'] as const
/** After these, in the manifest of a run that has sets. */
const setColumn = 'set'

/**
 * The manifest as it is sent, in pieces. @param base the address of this service, for links
 * @param missing files that are not there although they were made
 */
export async function* manifestCsv(
  deps: ViewDeps,
  run: Run,
  base: string,
  missing: ReadonlySet<string> = new Set(),
): AsyncGenerator<string> {
  const hasSets = run.definition.sets !== undefined
  yield `${[...columns, ...(hasSets ? [setColumn] : [])].join(',')}\r\n`
  for (let part = 0; part < partsOf(run.definition); part += 1) {
    yield (await itemsOfPart(deps, run, part)).map((item) => lineOf(item, base, missing)).join('')
  }
}

function lineOf(item: ItemView, base: string, missing: ReadonlySet<string>): string {
  const { file, row, set, variant, status, seed, link, sha256, bytes, error } = item
  const gone = missing.has(file)
  const cells = [
    file,
    row,
    variant,
    gone ? 'deleted' : status,
    seed,
    link === undefined || gone ? '' : base + link,
    sha256 ?? '',
    bytes ?? '',
    error === undefined ? '' : `${error.code}: ${error.message}`,
    ...(set === undefined ? [] : [set]),
  ]
  return `${cells.map(cellOf).join(',')}\r\n`
}

/** A spreadsheet takes a text that begins with one of these for a formula (OWASP, "CSV Injection"). */
const formula = /^[=+\-@\t\r]/

function cellOf(value: string | number): string {
  if (typeof value === 'number') return String(value)
  const safe = formula.test(value) ? `'${value}` : value
  return /[",\r\n;]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * The ZIP of a run as a stream: the pictures that are there, as they are stored, and manifest.csv as the last file. One
 * picture is open at a time, and none is read before the client has taken what comes before it. Ends with an error, and
 * so unfinished, if the storage fails.
 */
export function zipOf(deps: ArchiveDeps, run: Run, base: string): Readable {
  return zipStream(new Date(run.definition.created_at), async (zip) => {
    const missing = new Set<string>()
    for (let part = 0; part < partsOf(run.definition); part += 1) {
      for (const { status, job, file: name } of await itemsOfPart(deps, run, part)) {
        if (zip.over) return
        if (status !== 'succeeded') continue
        const file = job === undefined ? undefined : await deps.images.openImage(job, 0, formatOf(name))
        if (file === undefined) missing.add(name)
        else await zip.add(name, file)
      }
    }
    zip.addText('manifest.csv', manifestCsv(deps, run, base, missing))
  })
}

function formatOf(file: string): 'png' | 'jpeg' | 'webp' {
  if (file.endsWith('.jpg')) return 'jpeg'
  return file.endsWith('.webp') ? 'webp' : 'png'
}
