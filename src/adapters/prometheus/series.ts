import type { InstrumentKind } from '../../jobs/metrics.ts'

/**
 * The series of one instrument. A poll of a job is counted in four of them, so finding one is a few look-ups by strings
 * that exist already: prom-client makes a new string from all labels each time, which costs five times as much.
 */

/** Values of a label that are not known beforehand (models, routes); further ones are counted together. */
export const mostValues = 200
const other = 'other'

interface Series {
  readonly labels: Readonly<Record<string, string>>
  /** Of a histogram: the sum of what was observed. */
  value: number
  /** Of a histogram, for each bucket and the last beyond them: how many are in it, and in none before. */
  readonly counts: Float64Array
}

/** One sample of the exposition, as prom-client takes it. */
interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

type Labels = Readonly<Record<string, string>>
type Branch = Map<string, Branch | Series>

export interface SeriesSet {
  /** The series with these labels; made at its first use. */
  of(labels: Labels): Series
  drop(labels: Labels): void
  samples(): Sample[]
}

export function createSeries({ kind, name, labels, buckets = [] }: InstrumentKind): SeriesSet {
  const names = Object.keys(labels)
  const root: Branch = new Map()
  const seen = names.map(() => new Set<string>())
  let single: Series | undefined

  const make = (values: Labels): Series => ({
    labels: values,
    value: 0,
    counts: new Float64Array(kind === 'histogram' ? buckets.length + 1 : 0),
  })
  /** The label as it is counted. */
  const bounded = (index: number, value: string) => {
    const label = names[index] as string
    const values = seen[index] as Set<string>
    if (labels[label] !== undefined || values.has(value)) return value
    if (values.size >= mostValues) return other
    values.add(value)
    return value
  }
  const add = (given: Labels): Series => {
    const values = Object.fromEntries(
      names.map((label, index) => [label, bounded(index, given[label] ?? '')]),
    )
    let branch = root
    for (const [index, label] of names.entries()) {
      const value = values[label] as string
      const next = branch.get(value)
      if (index === names.length - 1) {
        const series = (next as Series | undefined) ?? make(values)
        branch.set(value, series)
        return series
      }
      const deeper = (next as Branch | undefined) ?? new Map()
      branch.set(value, deeper)
      branch = deeper
    }
    single ??= make({})
    return single
  }
  const find = (given: Labels): Series | undefined => {
    if (names.length === 0) return single
    let at: Branch | Series | undefined = root
    for (const label of names) {
      at = (at as Branch).get(given[label] as string)
      if (at === undefined) return undefined
    }
    return at as Series
  }
  const all = (branch: Branch): Series[] =>
    [...branch.values()].flatMap((next) => (next instanceof Map ? all(next) : [next]))

  return {
    of: (given) => find(given) ?? add(given),
    drop(given) {
      single = undefined
      let branch = root
      for (const label of names.slice(0, -1)) {
        const next = branch.get(given[label] as string)
        if (!(next instanceof Map)) return
        branch = next
      }
      branch.delete(given[names.at(-1) ?? ''] as string)
    },
    samples: () =>
      [...(single === undefined ? [] : [single]), ...all(root)].flatMap((series) =>
        kind === 'histogram'
          ? histogramSamples(name, buckets, series)
          : [{ metricName: name, labels: series.labels, value: series.value }],
      ),
  }
}

function histogramSamples(name: string, buckets: readonly number[], series: Series): Sample[] {
  let sum = 0
  const bounds = [...buckets.map(String), '+Inf']
  const inBuckets = bounds.map((le, index) => {
    sum += series.counts[index] ?? 0
    return { metricName: `${name}_bucket`, labels: { ...series.labels, le }, value: sum }
  })
  return [
    ...inBuckets,
    { metricName: `${name}_sum`, labels: series.labels, value: series.value },
    { metricName: `${name}_count`, labels: series.labels, value: sum },
  ]
}

/** Every combination of the labels, if the values of all are known. */
export function knownLabels({ labels }: InstrumentKind): Labels[] {
  let combinations: Labels[] = [{}]
  for (const [label, values = []] of Object.entries(labels)) {
    combinations = combinations.flatMap((each) => values.map((value) => ({ ...each, [label]: value })))
  }
  return combinations
}
