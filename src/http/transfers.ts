import { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { eventStreamType } from './event-stream.ts'
import { type TrafficLimits, watchTraffic } from './traffic.ts'

/** Puts every body and every answer of the app under `limits`. Hooks that set `connection` must come before. */
export function limitTransfers(app: FastifyInstance, limits: TrafficLimits): void {
  const traffic = watchTraffic(app.server, limits)
  app.addHook('preParsing', async (request, _reply, body) => {
    return isConnected(request) && hasBody(request) ? traffic.meter(request.raw) : body
  })
  app.addHook('onSend', async (request, reply) => {
    if (!isConnected(request)) return
    const isOpen = String(reply.getHeader('content-type')).startsWith(eventStreamType)
    traffic.watchAnswer(request.raw, reply.raw, isOpen ? 'open' : undefined)
    if (request.raw.complete || !hasBody(request) || reply.statusCode === 408) return
    if (reply.getHeader('connection') === 'close') reply.removeHeader('connection')
    traffic.discardRest(request.raw, reply.raw)
  })
}

/** False for a request that a test injects: then nothing moves. */
export function isConnected({ raw }: FastifyRequest): boolean {
  return raw.socket instanceof Socket
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
