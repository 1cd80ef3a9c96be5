import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'

/** What a process tells Prometheus, for tests. */
export interface Exposition {
  readonly text: string
  /** Each series, as `name{label="value",...}` with its labels in alphabetical order. */
  readonly series: ReadonlyMap<string, number>
  /** The sum of all series of this name that have these labels; undefined if there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined
  /** The values of a label, of all series of this name or of all names. */
  labelsOf(label: string, name?: string): string[]
}

interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Fails if a line cannot be read, or a series is there twice. */
export function readExposition(text: string): Exposition {
  const all: Series[] = []
  const series = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [, name = '', inner = '', number = ''] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? []
    assert.notEqual(name, '', `a line of metrics: ${line}`)
    const labels = Object.fromEntries(
      [...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((match) => [match[1] ?? '', match[2] ?? '']),
    )
    const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = `${name}{${sorted.map(([label, value]) => `${label}="${value}"`).join()}}`
    assert.ok(!series.has(key), `${key} is there twice`)
    series.set(key, Number(number))
    all.push({ name, labels, value: Number(number) })
  }
  const having = (name: string, labels: Readonly<Record<string, string>>) =>
    all.filter(
      (each) =>
        each.name === name && Object.entries(labels).every(([label, value]) => each.labels[label] === value),
    )
  return {
    text,
    series,
    value(name, labels = {}) {
      const found = having(name, labels)
      return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
    },
    labelsOf: (label, name) =>
      [
        ...new Set(
          all
            .filter((each) => name === undefined || each.name.startsWith(name))
            .flatMap(({ labels }) => labels[label] ?? []),
        ),
      ].sort(),
  }
}

export async function scrape(address: string): Promise<Exposition> {
  const response = await fetch(address)
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return readExposition(text)
}

/** The address of the metrics of a program, from what it printed. */
export function metricsOf(output: string): string | undefined {
  return /"metrics":"([^"]+)"/.exec(output)?.[1]
}

/** Fails on what Prometheus' own tool finds; where it is not installed (Debian: prometheus) nothing is checked. */
export function lint(text: string): void {
  const { status, stderr, stdout, error } = spawnSync('promtool', ['check', 'metrics'], { input: text })
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') return
  assert.equal(status, 0, `${stderr}${stdout}`)
}
