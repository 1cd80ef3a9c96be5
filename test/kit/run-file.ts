import type { Writable } from 'node:stream'
import { run } from 'node:test'
import { withLargePages } from '../../src/main/process/large-pages.ts'
import { ownOptions } from './own-environment.ts'
import { deadline } from './waiting.ts'

const endAtOnce = new URL('end-at-once.ts', import.meta.url).href

/** What came of one or several test files. */
export interface Counts {
  readonly tests: number
  readonly suites: number
  readonly passed: number
  readonly failed: number
  readonly cancelled: number
  readonly skipped: number
  readonly todo: number
}

export const noCounts: Counts = {
  tests: 0,
  suites: 0,
  passed: 0,
  failed: 0,
  cancelled: 0,
  skipped: 0,
  todo: 0,
}

export function sumOf(counts: readonly Counts[]): Counts {
  const sum = { ...noCounts }
  for (const each of counts) {
    for (const name of Object.keys(sum) as (keyof Counts)[]) sum[name] += each[name]
  }
  return sum
}

/** Three times what the longest takes on a slow machine: only ends a file that would hang. */
const longestFileMs = 900_000

export interface RunFileOptions {
  readonly reporter: Writable
  readonly signal: AbortSignal
  /** The process is started as what computes is. */
  readonly computes: boolean
  readonly longestMs?: number
}

/**
 * Runs a test file in a process of its own. What it tells is written to the reporter when it is over, in one piece,
 * without its own closing counts; they are answered. A file without a test counts none; one that does not end is ended, and
 * fails.
 */
export async function runFile(
  file: string,
  args: readonly string[],
  { reporter, signal, computes, longestMs = longestFileMs }: RunFileOptions,
): Promise<Counts> {
  const told: unknown[] = []
  let counts = noCounts
  let fileItself = 0
  const running = new Set<string>()
  const hung = new AbortController()
  const isOver = deadline(longestMs)
  const look = setInterval(() => {
    if (!isOver()) return
    const what = running.size > 0 ? [...running].join(', ') : 'what its tests started and did not end'
    hung.abort(new Error(`The file did not end in time: ${what}`))
  }, 1000)
  const env = computes ? withLargePages(process.env).env : process.env
  const options = {
    files: [file],
    execArgv: [...ownOptions(), '--import', endAtOnce, '--enable-source-maps'],
    argv: [...args],
    concurrency: 1,
    signal: AbortSignal.any([signal, hung.signal]),
    env,
  }
  for await (const event of run(options) as AsyncIterable<Told>) {
    const { type, data } = event
    if (type === 'test:dequeue' && data.name !== file) running.add(data.name ?? '')
    if (type === 'test:complete') running.delete(data.name ?? '')
    if (type === 'test:summary') counts = data.file === undefined ? (data.counts ?? counts) : counts
    else if (type !== 'test:diagnostic' || data.nesting > 0 || data.file !== undefined) told.push(event)
    // a file that registers no test is reported as one
    if (type === 'test:pass' && data.name === file) fileItself += 1
  }
  clearInterval(look)
  for (const event of told) reporter.write(event)
  const { tests, passed } = counts
  return { ...counts, tests: tests - fileItself, passed: passed - fileItself }
}

/** The part of the events of `node:test` that is looked at. */
interface Told {
  readonly type: string
  readonly data: {
    readonly name?: string
    readonly nesting: number
    readonly file?: string
    readonly counts?: Counts
  }
}
