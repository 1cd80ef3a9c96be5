import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, lastFirst } from '../cleanup.ts'

/** How many bytes of the file the client has: a test that does not count them cuts at once. */
export interface Client {
  bytes: number
}

export interface Served {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** How many requests there were before this one. */
  readonly before: number
  /** The first requested byte. */
  readonly begin: number
  readonly client: Client
}

/** A server on this machine that answers as the test says. @returns its URL, and the requests it got */
export async function serve(
  t: Cleanup,
  answer: (served: Served) => void,
): Promise<{ readonly address: string; readonly requests: IncomingMessage[]; readonly client: Client }> {
  const requests: IncomingMessage[] = []
  const client: Client = { bytes: Number.POSITIVE_INFINITY }
  const server = createServer((request, response) => {
    const begin = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    requests.push(request)
    answer({ request, response, before: requests.length - 1, begin, client })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  lastFirst(t).after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, client }
}

/** Answers as a correct server does: the whole file, or the rest if requested with the right ETag. */
export function send(
  { request, response, begin, client }: Served,
  bytes: Uint8Array,
  {
    etag = '"one"',
    headers = {},
    cutAt,
  }: { etag?: string; headers?: Record<string, string>; cutAt?: number } = {},
): void {
  const from = request.headers['if-range'] === etag ? begin : 0
  const partial: Record<string, string> =
    from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}
  response.writeHead(from > 0 ? 206 : 200, {
    etag,
    'content-length': String(bytes.length - from),
    ...partial,
    ...headers,
  })
  if (cutAt === undefined) {
    response.end(bytes.subarray(from))
    return
  }
  response.write(bytes.subarray(from, cutAt))
  void breakOff(response, () => client.bytes >= cutAt)
}

/** Data not yet read by the client would be lost with the connection, so `arrived` is checked first. */
export async function breakOff(response: ServerResponse, arrived: () => boolean): Promise<void> {
  while (!arrived() && !response.destroyed) await sleep(5)
  response.destroy()
}
