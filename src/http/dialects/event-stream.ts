import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import type { JobView } from '../../jobs/serving/job-view.ts'

export interface StreamEvent {
  /** Absent: `message`. */
  readonly event?: string
  readonly data: string
}

/** Proxies and clients count silence. */
const pingEveryMs = 15_000

/**
 * Answers with server-sent events, some for each state of a job, until the job is final or the client leaves. What the
 * first state rejects with is thrown, and becomes an answer like any other.
 *
 * @param follow the states, until the signal aborts
 */
export async function streamEvents(
  reply: FastifyReply,
  follow: (signal: AbortSignal) => AsyncGenerator<JobView, void, undefined>,
  eventsOf: (view: JobView) => readonly StreamEvent[],
): Promise<FastifyReply> {
  const gone = new AbortController()
  const { raw } = reply
  raw.once('close', () => gone.abort())
  const views = follow(gone.signal)
  const first = await views.next()
  // a stream has no end that could be slow: it is not measured as an answer is
  reply.hijack()
  raw.writeHead(200, {
    ...reply.getHeaders(),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  } as Record<string, string>)
  raw.flushHeaders()
  const ping = setInterval(() => raw.write(': ping\n\n'), pingEveryMs)
  try {
    for (let next = first; next.done !== true; next = await views.next()) {
      const text = eventsOf(next.value).map(textOf).join('')
      if (text !== '' && !raw.write(text)) await once(raw, 'drain', { signal: gone.signal })
    }
  } catch (thrown) {
    if (!gone.signal.aborted) reply.log.warn({ err: thrown }, 'a stream of events ended early')
  } finally {
    clearInterval(ping)
    await views.return()
    raw.end()
  }
  return reply
}

function textOf({ event, data }: StreamEvent): string {
  const named = event === undefined ? '' : `event: ${event}\n`
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`)
  return `${named}${lines.join('')}\n`
}
