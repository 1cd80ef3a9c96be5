import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { AppError } from './errors.ts'
import { isJobIdShaped } from './job-id.ts'

/**
 * Traces by the OpenTelemetry API. Without its SDK (`adapters/opentelemetry`) spans are empty and cost nothing, but the
 * context of a request still goes with its job, so that log lines and webhooks have the trace of a client that sent one.
 *
 * No attribute has a prompt, a key, a caller or an id that gives access: a job is known by the first part of its id.
 */

/** What belongs to the work on one job, beside its spans. */
interface Journey {
  /** The first part of the job's id. */
  readonly job: string | undefined
  /** The error that ended the engine's last run. */
  fault?: unknown
}

const journeyKey = createContextKey('packshot journey')

/** Makes contexts follow asynchronous work. To be called once, at startup; a second call changes nothing. */
export function followContexts(): void {
  const store = new AsyncLocalStorage<Context>()
  context.setGlobalContextManager({
    active: () => store.getStore() ?? ROOT_CONTEXT,
    with: (active, action, self, ...args) => store.run(active, () => action.call(self as never, ...args)),
    bind: (active, target) =>
      typeof target === 'function'
        ? (((...args: unknown[]) => store.run(active, () => target(...args))) as typeof target)
        : target,
    enable() {
      return this
    },
    disable() {
      return this
    },
  })
}

const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** Whether a text is a W3C `traceparent` of version 00. */
export function isTraceparent(text: unknown): text is string {
  return typeof text === 'string' && traceparent.test(text)
}

/** The context that a `traceparent` names, and the work on a job. One that is malformed is ignored. */
export function contextOf(carried: string | undefined, jobId?: string): Context {
  const [, traceId, spanId, flags] = traceparent.exec(carried ?? '') ?? []
  const journey: Journey = { job: jobLabel(jobId) }
  const begun = ROOT_CONTEXT.setValue(journeyKey, journey)
  if (traceId === undefined || spanId === undefined || flags === undefined) return begun
  const traceFlags = Number.parseInt(flags, 16) & 1
  return trace.setSpanContext(begun, { traceId, spanId, traceFlags, isRemote: true })
}

/** The active span as a `traceparent`; undefined if there is none. */
export function activeTraceparent(): string | undefined {
  const active = trace.getSpanContext(context.active())
  if (active === undefined || !isSpanContextValid(active)) return undefined
  return `00-${active.traceId}-${active.spanId}-${(active.traceFlags & 1).toString().padStart(2, '0')}`
}

/** What lines of the log and reports have of the work that writes them. */
export function activeFields(): { trace?: string; job?: string } {
  const active = context.active()
  if (active === ROOT_CONTEXT) return {}
  const span = trace.getSpanContext(active)
  const traceId = span !== undefined && isSpanContextValid(span) ? span.traceId : undefined
  const { job } = activeJourney() ?? {}
  return { ...(traceId === undefined ? {} : { trace: traceId }), ...(job === undefined ? {} : { job }) }
}

export function activeJourney(): Journey | undefined {
  return context.active().getValue(journeyKey) as Journey | undefined
}

/** The part of a job's id that gives no access to it; undefined for what is no id. */
export function jobLabel(id: string | undefined): string | undefined {
  return id !== undefined && isJobIdShaped(id) ? id.slice(0, 26) : undefined
}

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const

/** What is measured from its start to `end()`. */
export type TraceSpan = Span
export type TraceContext = Context

export interface SpanStart {
  /** Absent: a part of this process' own work. */
  readonly kind?: keyof typeof kinds
  readonly attributes?: Attributes
  /** Absent: the active one. */
  readonly from?: Context
  /** Also links to the parent, as the conventions want it of whoever processes a message. */
  readonly linked?: boolean
  /** When it began, in milliseconds of Unix time; absent: now. */
  readonly startTime?: number
}

/** A span, and the context of what happens in it. */
export function startSpan(
  name: string,
  { kind, attributes, from, startTime, linked = false }: SpanStart = {},
): { span: TraceSpan; active: TraceContext } {
  const parent = from ?? context.active()
  const remote = linked ? trace.getSpanContext(parent) : undefined
  const options = {
    kind: kind === undefined ? SpanKind.INTERNAL : kinds[kind],
    ...(attributes === undefined ? {} : { attributes }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(remote === undefined ? {} : { links: [{ context: remote }] }),
  }
  const span = trace.getTracer('packshot').startSpan(name, options, parent)
  return { span, active: trace.setSpan(parent, span) }
}

/** Runs an action in a span, which ends with it. A rejection is passed on; the span has its code and nothing else of it. */
export async function traced<T>(
  name: string,
  start: SpanStart,
  action: (span: TraceSpan) => Promise<T>,
): Promise<T> {
  const { span, active } = startSpan(name, start)
  try {
    return await context.with(active, action, undefined, span)
  } catch (thrown) {
    markFault(span, thrown)
    throw thrown
  } finally {
    span.end()
  }
}

/** The same as a part of a span that is recorded; without one nothing is measured. So polls and idle loops make no spans. */
export function tracedPart<T>(name: string, start: SpanStart, action: () => Promise<T>): Promise<T> {
  return isRecorded() ? traced(name, start, action) : action()
}

/** Runs what follows an event in a context. */
export function within<T>(active: TraceContext, action: () => T): T {
  return context.with(active, action)
}

/** For work that goes on by itself, whoever happened to begin it: it belongs to no trace. */
export function detached<T>(action: () => T): T {
  return context.with(ROOT_CONTEXT, action)
}

function isRecorded(): boolean {
  return trace.getSpan(context.active())?.isRecording() === true
}

/** An attempt that was stopped (canceled, lost, the worker ends) is no error. */
export function markFault(span: TraceSpan, thrown: unknown): void {
  if (!span.isRecording()) return
  if (thrown instanceof Error && thrown.name === 'Stopped' && 'why' in thrown) {
    span.setAttribute('packshot.stopped', String(thrown.why))
    return
  }
  markError(span, errorType(thrown))
}

/** Never a text: it may be about what a user sent. */
function errorType(thrown: unknown): string {
  if (thrown instanceof AppError) return thrown.code
  if (!(thrown instanceof Error)) return '_OTHER'
  const code = 'code' in thrown ? String(thrown.code) : ''
  return /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : thrown.name
}

export function markError(span: TraceSpan, type: string): void {
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR })
}
