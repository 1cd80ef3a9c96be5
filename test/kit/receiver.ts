import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Cleanup, lastFirst } from '../cleanup.ts'

/** A message that a receiver got. */
interface Message {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly path: string
}

export interface Receiver {
  readonly url: string
  readonly port: number
  readonly messages: readonly Message[]
  close(): Promise<void>
}

/** Answers a message; absent: 204. The number counts messages from 1. */
export type Answers = (response: ServerResponse, number: number, request: IncomingMessage) => void

/** A receiver of webhooks on loopback, at a free port unless one is given. */
export async function startReceiver(
  t: Cleanup,
  answer: Answers = (response) => response.writeHead(204).end(),
  port = 0,
): Promise<Receiver> {
  const messages: Message[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    try {
      for await (const chunk of request) body += chunk
    } catch {
      return
    }
    messages.push({ headers: request.headers, body, path: request.url ?? '' })
    answer(response, messages.length, request)
  })
  const close = async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
  lastFirst(t).after(close)
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const bound = (server.address() as AddressInfo).port
  return { url: `http://127.0.0.1:${bound}/hook`, port: bound, messages, close }
}
