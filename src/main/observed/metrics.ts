import { listenForScrapes } from '../../adapters/prometheus/listener.ts'
import { mergeTexts } from '../../adapters/prometheus/merge.ts'
import { type PrometheusMetrics, prometheusMetrics } from '../../adapters/prometheus/registry.ts'
import type { Config } from '../../config.ts'
import { hostNames, isOwnName } from '../../http/hosts.ts'
import type { Log } from '../../jobs/log.ts'
import { type InstrumentName, type Metrics, type MetricsRole, noMetrics } from '../../jobs/metrics.ts'
import { packageVersion } from '../../version.ts'
import { isLoopback } from '../callers.ts'

/** What a process measures, and how it is told. */
export interface Measuring {
  readonly metrics: Metrics
  /** What is read at each scrape, rather than counted. Nothing is read where nothing is measured. */
  readAtScrape(gauges: ReadGauges): void
  /** Empty when nothing is measured. */
  text(): Promise<string>
}

interface ReadGauges {
  /** Answers what sets the gauges. */
  read(): Promise<() => void>
  /** Called instead if `read` rejects, or takes too long: what is not known is absent. */
  forget(): void
}

const readMs = 2000
const ofSupervisor: InstrumentName = 'workerRestarts'

/** With `PACKSHOT_METRICS_PORT` unset nothing is measured. */
export async function startMeasuring({ metricsPort }: Config, role: MetricsRole): Promise<Measuring> {
  if (metricsPort === undefined) return { metrics: noMetrics, readAtScrape() {}, text: async () => '' }
  const own = prometheusMetrics({ role, has: (name) => name !== ofSupervisor, runtime: true })
  own.metrics.buildInfo.set({ version: await packageVersion(), node: process.versions.node }, 1)
  const reads: (() => Promise<void>)[] = []
  return {
    metrics: own.metrics,
    readAtScrape: (gauges) => void reads.push(boundedRead(gauges)),
    async text() {
      await Promise.all(reads.map((read) => read()))
      return own.text()
    },
  }
}

/** Never rejects, and never has two reads at once: one that hangs is not asked again until it ends. */
function boundedRead({ read, forget }: ReadGauges): () => Promise<void> {
  let current: Promise<unknown> | undefined
  return async () => {
    if (current !== undefined) return forget()
    const reading = read()
    const over = () => {
      current = undefined
    }
    current = reading.then(over, over)
    const { promise: late, resolve } = Promise.withResolvers<() => void>()
    const timer = setTimeout(resolve, readMs, forget)
    const set = await Promise.race([reading.catch(() => forget), late])
    clearTimeout(timer)
    set()
  }
}

/** Of a supervisor: what its worker cannot tell because it died. */
export function supervisorMetrics({ metricsPort }: Config): PrometheusMetrics | undefined {
  if (metricsPort === undefined) return undefined
  return prometheusMetrics({ role: 'worker', has: (name) => name === ofSupervisor, runtime: false })
}

/** Answers scrapes with all these texts in one. Undefined without `PACKSHOT_METRICS_PORT`. Rejects with what to change. */
export async function tellMetrics(
  { metricsPort: port, metricsHost: host, allowedHosts }: Config,
  texts: readonly (() => Promise<string>)[],
  log: Log,
): Promise<{ close(): void } | undefined> {
  if (port === undefined) return undefined
  const allowed = hostNames(allowedHosts)
  const listener = await listenForScrapes({
    host,
    port,
    text: async () => mergeTexts(await Promise.all(texts.map((text) => text()))),
    // a page of another site could have its name point to this machine; what is open to a network has any name there
    allows: (name) => !isLoopback(host) || isOwnName(name, allowed),
  })
  log.info({ metrics: listener.address }, 'metrics are told')
  return listener
}
