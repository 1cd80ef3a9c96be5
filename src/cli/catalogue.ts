import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { AppError } from '../jobs/errors.ts'
import { progressBar } from './progress.ts'
import { endWith, runCommand, UsageError } from './run-command.ts'

/**
 * `npm run catalogue`: a list of products in, a folder of pictures out, made by a running server. The folder remembers its
 * run: called again with the same list it continues, and fetches only what is not there.
 */

const usage = `Usage: npm run catalogue -- products.csv --out folder/ [options]

  --out FOLDER       where the pictures and manifest.csv go
  --template TEXT    the prompt, with {column} for cells; or a .json file with fields of a job (default: {prompt})
  --name TEXT        file names without their ending, such as {sku}-{variant} (default: the number of the row)
  --variants N       pictures of each row, 1 to 8 (default: 1)
  --retry            makes again what failed
  --server URL       default: http://localhost:8080, or PACKSHOT_SERVER
  --key-file FILE    a file with the key of a server that has keys (or PACKSHOT_KEY)

The list is CSV, or JSON lines if its name ends in .jsonl. Needs a running server: npm start.
`

const options = {
  out: { type: 'string' },
  template: { type: 'string' },
  name: { type: 'string' },
  variants: { type: 'string' },
  retry: { type: 'boolean' },
  server: { type: 'string' },
  'key-file': { type: 'string' },
  help: { type: 'boolean' },
} as const

interface Run {
  readonly id: string
  readonly status: string
  readonly pictures: number
  readonly counts: Readonly<Record<'waiting' | 'running' | 'succeeded' | 'failed' | 'canceled', number>>
  readonly eta_seconds?: number
  readonly poll_after_ms?: number
  readonly held_up?: { readonly message: string }
}

interface Item {
  readonly row: number
  readonly variant: number
  readonly file: string
  readonly status: string
  readonly link?: string
  readonly sha256?: string
  readonly error?: { readonly message: string }
}

interface Fault {
  readonly row: number
  readonly param: string
  readonly message: string
}

/** A server's answer that is an error. */
class Refused extends AppError {
  readonly status: number
  readonly rows: readonly Fault[]
  constructor(status: number, message: string, rows: readonly Fault[] = []) {
    super('invalid_request', message)
    this.status = status
    this.rows = rows
  }
}

/** Where a folder remembers its run. */
const memoryName = '.packshot-catalogue.json'
const mostListed = 20

async function catalogue(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [list] = positionals
  if (values.help || list === undefined || positionals.length > 1 || values.out === undefined)
    throw new UsageError()
  const folder = resolve(values.out)
  const body = await requestOf(list, values)
  const ask = await client(values.server, values['key-file'])
  await mkdir(folder, { recursive: true })
  const bar = progressBar()

  let run = await findOrCreate(ask, folder, body)
  if (values.retry) run = await ask.json<Run>(`/v1/catalogues/${run.id}/retry`, { method: 'POST' })
  const stop = () => {
    bar.clear()
    console.error('Stopped. The run goes on; the same command continues here.')
    process.exit(130)
  }
  process.once('SIGINT', stop)
  for (;;) {
    await fetchPictures(ask, run, folder)
    const { succeeded, failed, canceled } = run.counts
    const done = succeeded + failed + canceled
    const left = run.eta_seconds === undefined ? '' : `, about ${minutes(run.eta_seconds)} left`
    const held = run.held_up === undefined ? '' : ` (waits: ${run.held_up.message})`
    bar.draw(
      done / run.pictures,
      `${done} of ${run.pictures}${failed > 0 ? `, ${failed} failed` : ''}${left}${held}`,
    )
    if (run.status === 'finished' || run.status === 'canceled') break
    if (run.status === 'paused' && run.poll_after_ms === undefined) {
      bar.clear()
      console.error('The run is paused: resume it, and call this again.')
      return 1
    }
    await sleep(run.poll_after_ms ?? 2000)
    run = await ask.json<Run>(`/v1/catalogues/${run.id}`)
  }
  process.off('SIGINT', stop)
  bar.clear()
  await writeWhole(
    join(folder, 'manifest.csv'),
    (await ask.raw(`/v1/catalogues/${run.id}/manifest.csv`)).body,
  )
  return report(ask, run, folder)
}

async function report(ask: Client, run: Run, folder: string): Promise<number> {
  const { succeeded, failed, canceled } = run.counts
  console.log(`${succeeded} of ${run.pictures} pictures are in ${folder}.`)
  if (failed + canceled === 0) return 0
  const failures: Item[] = []
  for await (const item of itemsOf(ask, run, 'failed')) if (failures.push(item) === mostListed) break
  for (const { row, file, error } of failures) console.error(`row ${row}, ${file}: ${error?.message}`)
  if (failed > failures.length) console.error(`and ${failed - failures.length} more: see manifest.csv`)
  if (canceled > 0) console.error(`${canceled} were canceled.`)
  console.error('Call it again with --retry to make them again.')
  return 1
}

/** The same list and options continue the run of the folder, if the server still has it. */
async function findOrCreate(ask: Client, folder: string, body: object): Promise<Run> {
  const text = JSON.stringify(body)
  const hash = createHash('sha256').update(text).digest('hex')
  const path = join(folder, memoryName)
  const memory = await readFile(path, 'utf8').then(JSON.parse, () => ({}))
  if (memory.hash === hash && typeof memory.id === 'string') {
    try {
      return await ask.json<Run>(`/v1/catalogues/${memory.id}`)
    } catch (thrown) {
      if (!(thrown instanceof Refused) || (thrown.status !== 404 && thrown.status !== 410)) throw thrown
    }
  }
  // a run that expired is not found by the key of its list again
  const key = `catalogue-${hash.slice(0, 40)}${memory.hash === hash ? `-${memory.id}` : ''}`
  const headers = { 'content-type': 'application/json', 'idempotency-key': key }
  const run = await ask.json<Run>('/v1/catalogues', { method: 'POST', headers, body: text })
  await writeFile(path, JSON.stringify({ hash, id: run.id }))
  return run
}

type Values = Partial<Record<'template' | 'name' | 'variants', string>>

async function requestOf(list: string, { template, name, variants }: Values): Promise<object> {
  const text = textOf(await readFile(list), list)
  const kind = /^\.(jsonl|ndjson)$/i.test(extname(list)) ? 'jsonl' : 'csv'
  return {
    [kind]: text,
    ...(template === undefined ? {} : { template: await templateOf(template) }),
    ...(name === undefined ? {} : { name }),
    ...(variants === undefined ? {} : { variants: /^\d+$/.test(variants) ? Number(variants) : variants }),
  }
}

/** UTF-8, or UTF-16 with its mark: what spreadsheets call "Unicode text". */
function textOf(bytes: Buffer, file: string): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : 'utf-8'
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new AppError('invalid_request', `${file} is not UTF-8. Save it as "CSV UTF-8".`, { cause })
  }
}

async function templateOf(given: string): Promise<unknown> {
  if (extname(given) !== '.json') return { prompt: given }
  try {
    return JSON.parse(await readFile(given, 'utf8'))
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new AppError('invalid_request', `${given} is not JSON: ${cause.message}.`)
    throw cause
  }
}

/** Fetches the pictures that are made and not in the folder yet. */
async function fetchPictures(ask: Client, run: Run, folder: string): Promise<void> {
  for await (const { file, link, sha256 } of itemsOf(ask, run, 'succeeded')) {
    const path = join(folder, file)
    const there = await access(path).then(
      () => true,
      () => false,
    )
    if (there || link === undefined) continue
    const { body } = await ask.raw(link)
    await writeWhole(path, body, sha256)
  }
}

async function* itemsOf(ask: Client, { id }: Run, status: string): AsyncGenerator<Item> {
  for (let cursor: string | undefined = '0'; cursor !== undefined; ) {
    const page: { rows: Item[]; next?: string } = await ask.json(
      `/v1/catalogues/${id}/rows?status=${status}&limit=200&cursor=${cursor}`,
    )
    yield* page.rows
    cursor = page.next
  }
}

/** A file is whole or not there, so that a picture that is there need not be fetched again. */
async function writeWhole(path: string, body: ReadableStream | null, sha256?: string): Promise<void> {
  const temporary = `${path}.part`
  const hash = createHash('sha256')
  const source = Readable.from((body ?? []) as AsyncIterable<Uint8Array>)
  source.on('data', (bytes: Uint8Array) => hash.update(bytes))
  try {
    await pipeline(source, createWriteStream(temporary))
    if (sha256 !== undefined && hash.digest('hex') !== sha256) {
      throw new AppError('unavailable', `${path} did not arrive as it was sent. Try again.`)
    }
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

interface Client {
  json<T>(path: string, init?: RequestInit): Promise<T>
  raw(path: string, init?: RequestInit): Promise<Response>
}

const tries = 8

/** Asks a server, patiently: one that restarts, or has no room for now, is asked again. */
async function client(server: string | undefined, keyFile: string | undefined): Promise<Client> {
  const base = (server ?? process.env.PACKSHOT_SERVER ?? 'http://localhost:8080').replace(/\/+$/, '')
  if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
    throw new UsageError(`--server must be an address such as https://studio.example.com, but was ${base}.`)
  }
  const key = keyFile === undefined ? process.env.PACKSHOT_KEY : (await readFile(keyFile, 'utf8')).trim()
  const authorization = key === undefined || key === '' ? {} : { authorization: `Bearer ${key}` }
  const raw = async (path: string, init: RequestInit = {}): Promise<Response> => {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await fetch(base + path, {
        ...init,
        headers: { ...authorization, ...init.headers },
      }).catch((cause: unknown) => {
        if (attempt < tries) return undefined
        const message = `There is no answer from ${base}. Start the server with npm start, or name another with --server.`
        throw new AppError('unavailable', message, { cause })
      })
      if (answer?.ok) return answer
      const later = answer === undefined || answer.status === 503 || answer.status === 429
      if (answer !== undefined && (!later || attempt === tries)) throw await refusedBy(answer)
      const seconds = Number(answer?.headers.get('retry-after') ?? Math.min(attempt, 5))
      await answer?.body?.cancel()
      await sleep(Math.min(60, Math.max(0.5, seconds)) * 1000)
    }
  }
  return { raw, json: async (path, init) => (await raw(path, init)).json() as never }
}

async function refusedBy(answer: Response): Promise<Refused> {
  const said = (await answer.json().catch(() => ({}))) as {
    error?: { message?: string; faults?: Fault[]; fault_count?: number }
  }
  const { message = `The server answered ${answer.status}.`, faults = [], fault_count = 0 } = said.error ?? {}
  const lines = faults.map((fault) => `${fault.param}: ${fault.message}`)
  if (fault_count > faults.length) lines.push(`and ${fault_count - faults.length} more`)
  const text =
    lines.length === 0 ? message : `The list was refused, and nothing was made:\n${lines.join('\n')}`
  return new Refused(answer.status, text, faults)
}

function minutes(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}

await endWith(runCommand(usage, () => catalogue(process.argv.slice(2))))
