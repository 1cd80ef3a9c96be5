import { hostname } from 'node:os'
import { trace } from '@opentelemetry/api'
import { ExportResultCode, setGlobalErrorHandler } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Log } from '../../jobs/log.ts'
import { logSending, type Sending } from '../../jobs/say-once.ts'
import type { TracingSettings } from '../../jobs/tracing-settings.ts'

/** What this process is called; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence. */
export interface Service {
  readonly role: 'server' | 'worker'
  readonly version: string
}

export interface Tracing {
  /** Sends what waits, for at most two seconds. */
  close(): Promise<void>
}

const closeMs = 2000
/** A batch that was not accepted by then is dropped; `OTEL_EXPORTER_OTLP_TIMEOUT` may make it shorter. */
const exportMs = 10_000

/**
 * Loads the SDK and sends the spans of this process to a collector by OTLP/HTTP, as JSON. Headers, time limits, TLS and
 * compression come from the standard variables, which the exporter reads. Spans wait in memory, in a bounded queue; a
 * collector that is slow or does not answer costs spans and nothing else.
 */
export function startTracing(settings: TracingSettings, service: Service, log: Log): Tracing {
  const { url, queueMax, batchMax, delayMs } = settings
  const sending = logSending(log, 'traces')
  const exporter = watched(
    new OTLPTraceExporter({ url, concurrencyLimit: 1 + Math.ceil(queueMax / batchMax) }),
    sending,
  )
  const processor = new BatchSpanProcessor({
    exporter,
    maxQueueSize: queueMax,
    maxExportBatchSize: batchMax,
    scheduledDelayMillis: delayMs,
    exportTimeoutMillis: exportMs,
  })
  // each batch that fails ends here as well
  setGlobalErrorHandler((thrown) => sending.failed(reasonOf(thrown)))
  const provider = new TracerProvider({
    resource: resourceOf(service),
    sampler: samplerOf(settings.sampler),
    spanProcessors: [processor],
    spanLimits: { attributeValueLengthLimit: 256 },
  })
  trace.setGlobalTracerProvider(provider)
  log.info({ collector: new URL(url).origin, sampler: settings.sampler.name }, 'traces are sent')
  return {
    async close() {
      const { promise: late, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, closeMs)
      // a last batch that fails is noted by the exporter; the process ends all the same
      await Promise.race([provider.shutdown().catch(() => {}), late])
      clearTimeout(timer)
      trace.disable()
    },
  }
}

/** The same exporter, whose results are noted. */
function watched(inner: OTLPTraceExporter, sending: Sending): SpanExporter {
  return {
    export(spans, done) {
      inner.export(spans, (result) => {
        if (result.code === ExportResultCode.SUCCESS) sending.succeeded()
        else sending.failed(reasonOf(result.error))
        done(result)
      })
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
  }
}

/** A word or number for the log: the texts of such errors may have the address, and answers of collectors. */
function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'unknown'
  const { code, cause } = thrown as { code?: unknown; cause?: unknown }
  if (code !== undefined) return String(code)
  if (thrown.message === 'Timeout') return 'no answer in time'
  return cause instanceof Error ? reasonOf(cause) : thrown.name
}

function resourceOf({ role, version }: Service) {
  const own = resourceFromAttributes({
    'service.name': `packshot-${role}`,
    'service.version': version,
    'service.instance.id': `${hostname()}-${process.pid}`,
    'packshot.role': role,
  })
  return own.merge(detectResources({ detectors: [envDetector] }))
}

function samplerOf({ name, ratio }: TracingSettings['sampler']): Sampler {
  if (name.startsWith('parentbased_')) return new ParentBasedSampler({ root: rootSampler(name, ratio) })
  return rootSampler(name, ratio)
}

function rootSampler(name: string, ratio: number): Sampler {
  if (name.endsWith('always_off')) return new AlwaysOffSampler()
  return name.endsWith('traceidratio') ? new TraceIdRatioBasedSampler(ratio) : new AlwaysOnSampler()
}
