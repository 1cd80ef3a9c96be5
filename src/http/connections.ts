import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { AppError } from '../jobs/errors.ts'
import { answerRaw } from './client-error.ts'
import type { Trusts } from './peer.ts'

export interface ConnectionLimits {
  readonly all: number
  /** From one address; a trusted proxy brings the connections of many clients. */
  readonly perAddress: number
}

/** Connections that are being told to go away; beyond them Node closes without an answer. */
const spare = 64

/** Answers 503 to connections beyond the limits, and closes them. */
export function limitConnections(server: Server, limits: ConnectionLimits, trusts: Trusts): void {
  const open = new Map<string, number>()
  let all = 0
  server.maxConnections = limits.all + spare
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const count = (open.get(address) ?? 0) + 1
    open.set(address, count)
    all += 1
    socket.once('close', () => {
      all -= 1
      const left = (open.get(address) ?? 1) - 1
      if (left === 0) open.delete(address)
      else open.set(address, left)
    })
    const most = trusts(address) ? limits.all : limits.perAddress
    if (all <= limits.all && count <= most) return
    const reason = all > limits.all ? 'The server has' : 'Your address has'
    answerRaw(socket, '503 Service Unavailable', 'unavailable', `${reason} too many open connections.`)
  })
}

/** Browsers send one request after the other on a connection; a few more may be sent ahead. */
const mostInARow = 16

/**
 * Counts the requests of a connection that are not answered yet: Node begins all that one packet brings. Throws
 * `rate_limited` for one too many.
 */
export function limitRequestsInARow(): (socket: Socket, answer: ServerResponse) => void {
  const waiting = new WeakMap<Socket, number>()
  return (socket, answer) => {
    const count = (waiting.get(socket) ?? 0) + 1
    waiting.set(socket, count)
    answer.once('close', () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1))
    if (count <= mostInARow) return
    const message = `At most ${mostInARow} requests may be sent ahead on one connection.`
    throw new AppError('rate_limited', message, { retryAfterSeconds: 1 })
  }
}
