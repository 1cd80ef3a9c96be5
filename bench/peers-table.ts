/** What one run of one contender measured; undefined where it reports none. Seconds and bytes. */
export interface Measured {
  readonly load?: number | undefined
  readonly firstStep?: number | undefined
  readonly step?: number | undefined
  readonly decode?: number | undefined
  /** At the end, of this process alone; without what is mapped from files. */
  readonly own?: number | undefined
  readonly mapped?: number | undefined
  /** The most that was resident at any time, mapped files included. */
  readonly peak?: number | undefined
  /** Processor time of a step over its wall time. */
  readonly cpuPerWall?: number | undefined
}

export interface Run extends Measured {
  readonly name: string
  readonly largePages: boolean
}

export interface Report {
  readonly date: string
  readonly processor: string
  readonly threads: number
  readonly size: number
  readonly rounds: number
  readonly runs: readonly Run[]
  /** What was not measured, and why. */
  readonly leftOut: readonly string[]
}

const columns: readonly [
  title: string,
  show: (median: (field: keyof Measured) => number | undefined) => string,
][] = [
  ['load', (median) => inSeconds(median('load'))],
  ['first step', (median) => inSeconds(median('firstStep'))],
  ['step', (median) => inSeconds(median('step'), 2)],
  ['decode', (median) => inSeconds(median('decode'))],
  ['own memory', (median) => inGigabytes(median('own'))],
  ['mapped', (median) => inGigabytes(median('mapped'))],
  ['peak of both', (median) => inGigabytes(median('peak'))],
  ['processor time of a step / wall time', (median) => median('cpuPerWall')?.toFixed(2) ?? '-'],
]

/** Markdown: a row for each contender with large pages and without, each cell the median of its runs. */
export function peersTable({ date, processor, threads, size, rounds, runs, leftOut }: Report): string {
  const kinds = new Map<string, Run[]>()
  for (const run of runs) {
    const key = `${run.name} ${run.largePages}`
    kinds.set(key, [...(kinds.get(key) ?? []), run])
  }
  const rows = [...kinds.values()].map((same) => {
    const [{ name, largePages } = { name: '', largePages: false }] = same
    const of = (field: keyof Measured) =>
      median(same.map((run) => run[field]).filter((value) => value !== undefined))
    return [name, largePages ? 'large' : '4 KB', ...columns.map(([, show]) => show(of))]
  })
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  const titles = ['', 'pages', ...columns.map(([title]) => title)]
  const table =
    rows.length === 0
      ? 'Nothing was measured.\n'
      : `${line(titles)}${line(titles.map(() => '---'))}${rows.map(line).join('')}`
  const missing = leftOut.map((reason) => `- ${reason}\n`).join('')
  const kind = `${processor}, ${threads} threads, ${size}x${size}, guided steps, random weights of full size`
  return `${date}: ${kind}, median of ${rounds} ${rounds === 1 ? 'round' : 'rounds'} in turn.\n\n${table}${
    missing === '' ? '' : `\nLeft out:\n\n${missing}`
  }`
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
}

function inSeconds(value: number | undefined, digits = 1): string {
  return value === undefined ? '-' : `${value.toFixed(digits)} s`
}

function inGigabytes(value: number | undefined): string {
  return value === undefined ? '-' : `${(value / 2 ** 30).toFixed(1)} GB`
}

/** From the log of stable-diffusion.cpp's program; it reports no first step alone. */
export function fromSdCpp(log: string, steps: number): Measured {
  const seconds = (pattern: RegExp) => {
    const found = [...log.matchAll(pattern)].map(([, value]) => Number(value))
    return found.length === 0 ? undefined : found.reduce((sum, value) => sum + value, 0)
  }
  const sampling = seconds(/sampling completed, taking ([\d.]+)s/g)
  return {
    load: seconds(/loading tensors completed, taking ([\d.]+)s/g),
    step: sampling === undefined ? undefined : sampling / steps,
    decode: seconds(/latent \d+ decoded, taking ([\d.]+)s/g),
  }
}
