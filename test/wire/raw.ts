import type { Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { pino } from 'pino'
import { buildHttp, type HttpDeps } from '../../src/http/app.ts'
import { Studio } from '../browser/studio.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'

/** A real server over the stand-in service, and requests byte by byte. */

export interface Listening {
  readonly port: number
  readonly url: string
  readonly studio: Studio
  readonly server: Server
}

export async function listening(t: Cleanup, options: Partial<HttpDeps> = {}): Promise<Listening> {
  const studio = new Studio()
  const log = pino({ level: 'silent' })
  const app = await buildHttp({ services: studio, log, ...options })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  lastFirst(t).after(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return { port: Number(new URL(url).port), url, studio, server: app.server }
}

export interface RawAnswer {
  readonly status: number
  readonly headers: string
  readonly body: string
}

/** Sends this text on a connection of its own, and reads until the server closes it. */
export async function exchange(port: number, text: string | Buffer): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1')
  socket.write(text)
  return answerOf(socket)
}

/** All that comes until the connection ends; a reset after the answer is no fault. */
export async function answerOf(socket: Socket): Promise<RawAnswer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.resume()
  await new Promise<void>((resolve) => {
    socket.on('error', () => resolve())
    socket.on('close', () => resolve())
  })
  const text = Buffer.concat(chunks).toString()
  const [headers = '', ...rest] = text.split('\r\n\r\n')
  return {
    status: Number(headers.split(' ')[1]),
    headers: headers.toLowerCase(),
    body: rest.join('\r\n\r\n'),
  }
}

/** A request without a body that asks to close the connection. */
export function request(method: string, target: string, headers: readonly string[]): string {
  return `${[`${method} ${target} HTTP/1.1`, ...headers, 'Connection: close'].join('\r\n')}\r\n\r\n`
}
