import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { keptFor } from '../../jobs/kept-for.ts'
import { contentType } from './registry.ts'

export interface ListenerOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** What is told; asked for by one scrape at a time, at most about once a second. Must not hang. */
  readonly text: () => Promise<string>
  /** Whether a request for this Host may be answered. */
  readonly allows: (host: string) => boolean
}

export interface Listener {
  /** `http://127.0.0.1:9464/metrics` */
  readonly address: string
  close(): void
}

/** For how long a text is used again. */
const freshMs = 1000
/** A Prometheus needs one. */
const mostConnections = 32
/** A connection on which nothing moves is closed. */
const idleMs = 10_000

/**
 * `GET /metrics` and nothing else. Whoever reaches it may read it, and can cost one text a second and a few connections.
 * Rejects with a message that names the variable to change.
 */
export async function listenForScrapes({ host, port, text, allows }: ListenerOptions): Promise<Listener> {
  const fresh = keptFor(freshMs, text)
  const server = createServer(
    {
      headersTimeout: idleMs,
      requestTimeout: idleMs,
      keepAliveTimeout: idleMs,
      connectionsCheckingInterval: 1000,
    },
    async ({ url = '', method, headers }, response) => {
      const answer = (status: number, body: string, type = 'text/plain; charset=utf-8', allow?: string) => {
        const more = {
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          ...(allow && { allow }),
        }
        response
          .writeHead(status, { 'content-type': type, ...more })
          .end(method === 'HEAD' ? undefined : body)
      }
      if (!allows(headers.host ?? '')) return answer(421, 'wrong host\n')
      if (url.split('?', 1)[0] !== '/metrics') return answer(404, 'not found\n')
      if (method !== 'GET' && method !== 'HEAD')
        return answer(405, 'method not allowed\n', undefined, 'GET, HEAD')
      try {
        answer(200, await fresh(), contentType)
      } catch {
        answer(500, 'the metrics could not be read\n')
      }
    },
  )
  server.maxConnections = mostConnections
  server.setTimeout(idleMs)
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    throw new Error(listenFault(host, port, cause), { cause })
  }
  const bound = server.address() as AddressInfo
  const shown = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return {
    address: `http://${shown}:${bound.port}/metrics`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function listenFault(host: string, port: number, cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const next = port === 65_535 ? 9464 : port + 1
  const reasons: Record<string, string> = {
    EADDRINUSE: `Port ${port} on ${host}, for metrics, is in use by another program, or by another process of this one. Choose another with PACKSHOT_METRICS_PORT, for example PACKSHOT_METRICS_PORT=${next}; 0 picks a free one.`,
    EACCES: `This user may not listen on port ${port}. Choose one above 1023 with PACKSHOT_METRICS_PORT.`,
    EADDRNOTAVAIL: `${host} is not an address of this machine. Correct PACKSHOT_METRICS_HOST.`,
    ENOTFOUND: `${host} is not an address of this machine. Correct PACKSHOT_METRICS_HOST.`,
  }
  return reasons[String(code)] ?? `Listening for metrics on ${host} port ${port} failed: ${cause}`
}
