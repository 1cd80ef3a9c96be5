/** The standard variables of OpenTelemetry that the service reads itself: its SDK passes over wrong values silently. */

export interface TracingSettings {
  /** Where spans are sent: OTLP over HTTP. */
  readonly url: string
  readonly sampler: { readonly name: SamplerName; readonly ratio: number }
  /** Spans that wait to be sent; more are dropped. */
  readonly queueMax: number
  readonly batchMax: number
  readonly delayMs: number
}

const samplers = [
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
  'always_on',
  'always_off',
  'traceidratio',
] as const
type SamplerName = (typeof samplers)[number]

const ownVariable = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'
const sharedVariable = 'OTEL_EXPORTER_OTLP_ENDPOINT'

/** Undefined without an endpoint, or where traces are switched off. Every fault is a sentence. */
export function tracingSettings(env: Readonly<Record<string, string | undefined>>): {
  settings: TracingSettings | undefined
  faults: string[]
} {
  const own = env[ownVariable]
  const shared = env[sharedVariable]
  const variable = own === undefined ? sharedVariable : ownVariable
  const endpoint = own ?? shared
  const off = env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER === 'none'
  if (endpoint === undefined || off) return { settings: undefined, faults: [] }

  const faults: string[] = []
  const choice = (name: string, choices: readonly string[]) => {
    const value = env[name]
    if (value === undefined || choices.includes(value)) return
    faults.push(`${name} must be one of ${choices.join(', ')}, but was ${shown(value)}.`)
  }
  const number = (name: string, fallback: number, check: (value: number) => boolean, wanted: string) => {
    const text = env[name]
    if (text === undefined) return fallback
    const value = /^\d{1,9}(\.\d{1,15})?$/.test(text) ? Number(text) : Number.NaN
    if (!check(value)) faults.push(`${name} must be ${wanted}, but was ${shown(text)}.`)
    return value
  }
  const count = (name: string, fallback: number) =>
    number(name, fallback, (value) => Number.isInteger(value) && value > 0, 'a whole number above 0')

  if (!isHttpUrl(endpoint)) {
    faults.push(
      `${variable} must be the http:// or https:// address of an OTLP collector, something like http://collector:4318, but was text of ${endpoint.length} characters (not shown).`,
    )
  }
  choice('OTEL_TRACES_EXPORTER', ['otlp', 'none'])
  const protocols = ['http/json', 'http/protobuf']
  choice('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', protocols)
  if (env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL === undefined) choice('OTEL_EXPORTER_OTLP_PROTOCOL', protocols)
  choice('OTEL_TRACES_SAMPLER', samplers)
  const ratio = number('OTEL_TRACES_SAMPLER_ARG', 1, (value) => value <= 1, 'a number from 0 to 1')
  const queueMax = count('OTEL_BSP_MAX_QUEUE_SIZE', 2048)
  const batchMax = Math.min(queueMax, count('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512))
  const delayMs = count('OTEL_BSP_SCHEDULE_DELAY', 5000)
  if (faults.length > 0) return { settings: undefined, faults }
  const name = (env.OTEL_TRACES_SAMPLER ?? 'parentbased_always_on') as SamplerName
  const url = own ?? `${endpoint.replace(/\/+$/, '')}/v1/traces`
  return { settings: { url, sampler: { name, ratio }, queueMax, batchMax, delayMs }, faults }
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text)
}
