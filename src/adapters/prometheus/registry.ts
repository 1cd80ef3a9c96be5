import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import {
  type InstrumentKind,
  type InstrumentName,
  instruments,
  type Metrics,
  type MetricsRole,
  noMetrics,
} from '../../jobs/metrics.ts'
import { createSeries, knownLabels } from './series.ts'

/** The instruments of a process, and the text that Prometheus reads. */
export interface PrometheusMetrics {
  readonly metrics: Metrics
  /** Of this process; those of the runtime (`process_`, `nodejs_`) included. Version 0.0.4 of the format. */
  text(): Promise<string>
}

export const contentType = Registry.PROMETHEUS_CONTENT_TYPE

/** Named as counters, which they are not: `promtool check metrics` refuses them. */
const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

interface Options {
  readonly role: MetricsRole
  /** Those of the role that this process tells. Absent: all. */
  readonly has?: (name: InstrumentName) => boolean
  /** Whether it tells of its own memory and event loop. */
  readonly runtime: boolean
}

/** Counters, and histograms whose labels are all known, begin with 0; gauges are absent until they are set. */
export function prometheusMetrics({ role, has = () => true, runtime }: Options): PrometheusMetrics {
  const registry = new Registry()
  registry.setDefaultLabels({ role })
  if (runtime) {
    collectDefaultMetrics({ register: registry })
    for (const name of misnamed) registry.removeSingleMetric(name)
  }
  const all: Readonly<Record<string, InstrumentKind>> = instruments
  const own = Object.entries(all).filter(
    ([name, { roles }]) => roles.includes(role) && has(name as InstrumentName),
  )
  const made = own.map(([name, kind]) => [name, register(registry, kind)])
  return {
    metrics: { ...noMetrics, ...(Object.fromEntries(made) as Partial<Metrics>) },
    text: () => registry.metrics(),
  }
}

type Labels = Readonly<Record<string, string>>

function register(registry: Registry, instrument: InstrumentKind) {
  const { kind, name, help, buckets = [] } = instrument
  const series = createSeries(instrument)
  if (kind !== 'gauge') for (const labels of knownLabels(instrument)) series.of(labels)
  const metric = {
    name,
    help,
    type: kind,
    aggregator: 'sum',
    async get() {
      return { name, help, type: kind, aggregator: 'sum', values: series.samples() }
    },
  }
  // what the registry asks of a metric, as `Metric.get` of its types has it; they list its own classes only
  registry.registerMetric(metric as unknown as Metric)
  return {
    add(labels: Labels, amount = 1) {
      series.of(labels).value += amount
    },
    set(labels: Labels, value: number) {
      series.of(labels).value = value
    },
    forget: (labels: Labels) => series.drop(labels),
    observe(labels: Labels, value: number) {
      const found = series.of(labels)
      let bucket = 0
      while (bucket < buckets.length && value > (buckets[bucket] as number)) bucket += 1
      found.counts[bucket] = (found.counts[bucket] ?? 0) + 1
      found.value += value
    },
  }
}
