import type { Socket } from 'node:net'
import type { ErrorBody } from './faults.ts'

const answers: Record<string, readonly [status: string, message: string]> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'The URL and headers must have at most 16 KiB.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request was not received completely in time.'],
}
const notHttp = ['400 Bad Request', 'This is not a valid HTTP request.'] as const

/** Answers what Node could not parse as a request: there is no route, request or reply object then, only bytes. */
export function answerClientError(error: Error, socket: Socket): void {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, message] = answers[code] ?? notHttp
  const body = JSON.stringify({ error: { code: 'invalid_request', message } } satisfies ErrorBody)
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${body.length}`
  socket.end(`${head}\r\nconnection: close\r\n\r\n${body}`)
}
