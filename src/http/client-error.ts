import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { ErrorBody } from './faults.ts'

const answers: Record<string, readonly [status: string, code: string, message: string]> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'invalid_request',
    'The URL and headers must have at most 16 KiB.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    '408 Request Timeout',
    'too_slow',
    'The request was not received completely in time.',
  ],
}
const notHttp = ['400 Bad Request', 'invalid_request', 'This is not a valid HTTP request.'] as const

/** How long the rest of what a client sends is read, so that it can read the answer before the connection is reset. */
const lingerMs = 2000

/** Answers what Node could not parse as a request: there is no route, request or reply object then, only bytes. */
export function answerClientError(error: Error, socket: Socket): void {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ECONNRESET') socket.destroy()
  else answerRaw(socket, ...(answers[code] ?? notHttp))
}

/** Writes an error answer to a connection, and closes it. */
export function answerRaw(socket: Socket, status: string, code: string, message: string): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = JSON.stringify({ error: { code, message } } satisfies ErrorBody)
  const retry = status.startsWith('503') ? 'retry-after: 5\r\n' : ''
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}`
  socket.end(`${head}\r\n${retry}cache-control: no-store\r\nconnection: close\r\n\r\n${body}`)
  socket.resume()
  setTimeout(() => socket.destroy(), lingerMs).unref()
}

/** The requests that Node answers itself, or closes without an answer, get an error body too. */
export function answerOddRequests(server: Server): void {
  server.on('checkExpectation', ({ socket }) => {
    answerRaw(
      socket,
      '417 Expectation Failed',
      'invalid_request',
      'The only expectation that is met is 100-continue.',
    )
  })
  server.on('connect', ({ socket }) => {
    answerRaw(socket, '405 Method Not Allowed', 'method_not_allowed', 'This server is not a proxy.')
  })
}
