import type { ServerResponse } from 'node:http'
import type { Cleanup } from '../cleanup.ts'
import { type Answers, type Receiver, startReceiver } from './receiver.ts'

/** A span as a collector gets it by OTLP, with its attributes by name. */
export interface CollectedSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: Readonly<Record<string, unknown>>
  /** Of its process. */
  readonly resource: Readonly<Record<string, unknown>>
  readonly failed: boolean
}

export interface Collector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string
  readonly receiver: Receiver
  spans(): CollectedSpan[]
  /** Everything that arrived, as text. */
  text(): string
}

type Value = Readonly<Record<string, unknown>>
type Attribute = { readonly key: string; readonly value: Value }
type Sent = Omit<CollectedSpan, 'attributes' | 'resource' | 'failed' | 'links'> & {
  readonly attributes?: readonly Attribute[]
  readonly links?: CollectedSpan['links']
  readonly status?: { readonly code?: number }
}
interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly Sent[] }[]
  }[]
}

/** An OTLP collector on loopback that takes JSON over HTTP. */
export async function startCollector(
  t: Cleanup,
  answer: Answers = (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  port = 0,
): Promise<Collector> {
  const receiver = await startReceiver(t, answer, port)
  const spans = () =>
    receiver.messages
      .filter(({ path }) => path.endsWith('/v1/traces'))
      .flatMap(({ body }) => (JSON.parse(body) as Export).resourceSpans)
      .flatMap(({ resource, scopeSpans }) =>
        scopeSpans.flatMap((scope) => scope.spans.map((span) => collected(span, named(resource.attributes)))),
      )
  const text = () => JSON.stringify(receiver.messages)
  return { url: `http://127.0.0.1:${receiver.port}`, receiver, spans, text }
}

function collected({ status, attributes = [], links = [], ...span }: Sent, resource: Value): CollectedSpan {
  const parentSpanId = span.parentSpanId === '' ? undefined : span.parentSpanId
  return { ...span, parentSpanId, links, resource, attributes: named(attributes), failed: status?.code === 2 }
}

function named(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}

interface SentryEvent {
  readonly level: string
  readonly release: string
  readonly environment: string
  readonly server_name: string
  readonly tags: Readonly<Record<string, unknown>>
  readonly fingerprint: readonly string[]
  readonly contexts?: { readonly trace?: { readonly trace_id: string } }
  readonly exception: {
    readonly values: readonly {
      readonly type: string
      readonly value: string
      readonly stacktrace?: { readonly frames: readonly { readonly filename?: string }[] }
      readonly mechanism: { readonly handled: boolean }
    }[]
  }
}

export interface SentryProject {
  readonly dsn: string
  readonly receiver: Receiver
  events(): SentryEvent[]
  /** The types of all items of all envelopes. */
  items(): string[]
  text(): string
}

/** The endpoint of one project of Sentry on loopback: it takes envelopes. */
export async function startSentry(
  t: Cleanup,
  answer: (response: ServerResponse) => void = (response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
): Promise<SentryProject> {
  const receiver = await startReceiver(t, answer)
  const items = () =>
    receiver.messages
      .filter(({ path }) => path.startsWith('/api/7/envelope/'))
      .flatMap(({ body }) => {
        const lines = body.trimEnd().split('\n').slice(1)
        return lines.flatMap((line, index) => (index % 2 === 0 ? [[line, lines[index + 1] ?? '{}']] : []))
      })
      .map(([header = '', payload = '']) => ({ type: String(JSON.parse(header).type), payload }))
  return {
    dsn: `http://abc123@127.0.0.1:${receiver.port}/7`,
    receiver,
    events: () =>
      items()
        .filter(({ type }) => type === 'event')
        .map(({ payload }) => JSON.parse(payload) as SentryEvent),
    items: () => items().map(({ type }) => type),
    text: () => JSON.stringify(receiver.messages),
  }
}
