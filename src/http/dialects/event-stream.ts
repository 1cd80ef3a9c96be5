import { once } from 'node:events'
import type { FastifyReply } from 'fastify'

/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) as an answer. */
export interface EventStream {
  /** Aborted when the client is gone, or reads too slowly. */
  readonly gone: AbortSignal
  /**
   * Sends one event, a text as it is and all else as JSON; resolves when there is room for the next one. Does nothing
   * once the client is gone.
   */
  send(data: object | string, event?: string): Promise<void>
  end(): void
}

/** Proxies and clients end what is silent for a minute or less. */
const pingEveryMs = 15_000
/** How long an event may remain unread. */
const unreadMs = 30_000

/**
 * Sends the headers at once: a client may give up if none come for minutes. The answer is ours from here on, so the
 * hooks for answers do not see it: what they would set is set here.
 */
export function openEvents(reply: FastifyReply): EventStream {
  const { raw } = reply
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) raw.setHeader(name, value)
  }
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-origin',
  })
  raw.flushHeaders()
  const gone = new AbortController()
  const leave = () => gone.abort()
  raw.once('close', leave)
  const ping = setInterval(() => {
    if (raw.writableLength === 0) raw.write(': ping\n\n')
  }, pingEveryMs)
  const isOver = () => gone.signal.aborted || raw.destroyed || raw.writableEnded
  return {
    gone: gone.signal,
    async send(data, event) {
      if (isOver()) return
      const name = event === undefined ? '' : `event: ${event}\n`
      const text =
        typeof data === 'string' ? data.replaceAll(/\r\n|\r|\n/g, '\ndata: ') : JSON.stringify(data)
      if (raw.write(`${name}data: ${text}\n\n`)) return
      try {
        await once(raw, 'drain', { signal: AbortSignal.any([gone.signal, AbortSignal.timeout(unreadMs)]) })
      } catch {
        raw.destroy()
        gone.abort()
      }
    },
    end() {
      clearInterval(ping)
      raw.off('close', leave)
      if (!isOver()) raw.end()
    },
  }
}
