import { hostname } from 'node:os'
import { createStackParser, createTransport, type Event, Scope } from '@sentry/core'
import { nodeStackLineParser, ServerRuntimeClient } from '@sentry/core/server'
import type { Log } from '../../jobs/log.ts'
import { chainOf, type Report, type Reports, scrubbed } from '../../jobs/reports.ts'
import { logSending } from '../../jobs/say-once.ts'
import { activeFields, activeTraceparent } from '../../jobs/tracing.ts'

export interface SentryOptions {
  readonly dsn: string
  readonly release: string
  readonly environment: string | undefined
  readonly role: 'server' | 'worker'
  /** Maximum events per minute of this process. */
  readonly perMinute: number
}

const flushMs = 2000
const requestMs = 5000
/** Events that wait for an answer; more are dropped. */
const mostWaiting = 16
/** One event of a kind in so long. */
const sameKindMs = 60_000
const mostKinds = 200

/**
 * Sends reports to Sentry, or what speaks its protocol, such as GlitchTip: one envelope with one event, and nothing else.
 * Events are built here from the error alone; no integration of the SDK adds anything of requests or the process.
 */
export function sentryReports(options: SentryOptions, log: Log): Reports {
  const { dsn, release, environment = 'production', role, perMinute } = options
  const sending = logSending(log, 'reports of faults')
  const parser = createStackParser(nodeStackLineParser())
  const client = new ServerRuntimeClient({
    dsn,
    release,
    environment,
    serverName: hostname(),
    runtime: { name: 'node', version: process.version },
    platform: 'node',
    integrations: [],
    stackParser: parser,
    sendClientReports: false,
    traceLifecycle: 'static',
    dataCollection: {
      userInfo: false,
      cookies: false,
      httpHeaders: false,
      httpBodies: [],
      urlQueryParams: false,
      databaseQueryData: false,
      queues: false,
      stackFrameVariables: false,
      genAI: { inputs: false, outputs: false },
    },
    transport: ({ url, headers = {}, recordDroppedEvent }) =>
      createTransport({ recordDroppedEvent, bufferSize: mostWaiting }, async ({ body }) => {
        const signal = AbortSignal.timeout(requestMs)
        try {
          const request = {
            method: 'POST',
            headers,
            body: new Uint8Array(typeof body === 'string' ? Buffer.from(body) : body),
            signal,
            redirect: 'error' as const,
          }
          const response = await fetch(url, request)
          await response.body?.cancel()
          if (response.ok) sending.succeeded()
          else sending.failed(String(response.status))
          return {
            statusCode: response.status,
            headers: {
              'x-sentry-rate-limits': response.headers.get('x-sentry-rate-limits'),
              'retry-after': response.headers.get('retry-after'),
            },
          }
        } catch (thrown) {
          sending.failed(thrown instanceof Error ? thrown.name : 'unknown')
          return {}
        }
      }),
  })
  client.init()
  const admitted = limitOf(perMinute)
  const framesOf = (stack: string, secrets: readonly string[]) =>
    parser(stack.slice(Math.max(0, stack.search(/^\s+at /m)))).map(({ filename, ...frame }) => ({
      ...frame,
      ...(frame.function === undefined ? {} : { function: scrubbed(frame.function, secrets) }),
      ...(filename === undefined ? {} : { filename: scrubbed(filename, secrets) }),
    }))

  const eventOf = (thrown: unknown, { of, code, tags, secrets = [] }: Report, dropped: number): Event => {
    const { job, trace } = activeFields()
    const [, , spanId] = activeTraceparent()?.split('-') ?? []
    const chain = chainOf(thrown)
    return {
      level: of === 'process' ? 'fatal' : 'error',
      // what is unknown is told apart by where it was thrown
      fingerprint: isUnknown(code) ? ['{{ default }}', of] : [of, code],
      tags: {
        role,
        of,
        code,
        ...Object.fromEntries(
          Object.entries(tags ?? {}).map(([name, value]) => [name, scrubbed(String(value), secrets)]),
        ),
        ...(job === undefined ? {} : { job }),
        ...(trace === undefined ? {} : { trace }),
      },
      ...(trace === undefined || spanId === undefined
        ? {}
        : { contexts: { trace: { trace_id: trace, span_id: spanId } } }),
      ...(dropped === 0 ? {} : { extra: { dropped_before: dropped } }),
      exception: {
        values: chain
          .map(({ type, message, stack }) => ({
            type,
            value: scrubbed(message, secrets),
            // the first line of a stack is its message
            stacktrace: { frames: framesOf(stack, secrets) },
            mechanism: { type: 'generic', handled: of !== 'process' },
          }))
          .toReversed(),
      },
    }
  }
  return {
    report(thrown, about) {
      try {
        const { of, code } = about
        const what = isUnknown(code)
          ? chainOf(thrown).map(({ type, stack }) => type + stack.slice(0, 500))
          : []
        const dropped = admitted(`${of} ${code} ${what}`)
        if (dropped === undefined) return
        client.captureEvent(eventOf(thrown, about, dropped), {}, new Scope())
      } catch (err) {
        log.warn({ err }, 'a report of a fault could not be made')
      }
    },
    async flush() {
      const { promise: late, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, flushMs)
      await Promise.race([Promise.resolve(client.flush(flushMs)).catch(() => false), late])
      clearTimeout(timer)
    },
  }
}

function isUnknown(code: Report['code']): boolean {
  return code === 'internal' || code === 'unhandled'
}

/** Answers how many reports were dropped since the last that was sent; undefined if this one is dropped. */
function limitOf(perMinute: number): (kind: string) => number | undefined {
  const lastOf = new Map<string, number>()
  let dropped = 0
  let left = perMinute
  let since = performance.now()
  return (kind) => {
    const now = performance.now()
    left = Math.min(perMinute, left + ((now - since) / 60_000) * perMinute)
    since = now
    const last = lastOf.get(kind)
    if (left < 1 || (last !== undefined && now - last < sameKindMs)) {
      dropped += 1
      return undefined
    }
    if (lastOf.size >= mostKinds) lastOf.clear()
    lastOf.set(kind, now)
    left -= 1
    const before = dropped
    dropped = 0
    return before
  }
}
