import type { FastifyReply, FastifyRequest } from 'fastify'
import { toAppError } from '../jobs/errors.ts'
import { type Metrics, noMetrics } from '../jobs/metrics.ts'
import { eventStreamType } from './event-stream.ts'
import { routeOf } from './route.ts'

/** Clients may use any of some thirty methods. */
const usualMethods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * Answers what takes note of an answer that is about to be sent: how long it took, and which streams are open. It is
 * called for thousands of polls a second, from a hook that is there anyway: one of its own costs as much again.
 */
export function measureAnswers(
  metrics: Metrics,
): (request: FastifyRequest, reply: FastifyReply, payload: unknown) => void {
  if (metrics === noMetrics) return () => {}
  let streams = 0
  const openedBy = (change: 1 | -1) => {
    streams += change
    metrics.eventStreams.set({}, streams)
  }
  metrics.eventStreams.set({}, streams)
  return (request, reply, payload) => {
    const method = usualMethods.includes(request.method) ? request.method : 'other'
    const route = routeOf(request).url ?? 'none'
    const code = String(reply.statusCode)
    metrics.httpDuration.observe({ route, method, code }, reply.elapsedTime / 1000)
    if (typeof payload !== 'string' && String(reply.getHeader('content-type')).startsWith(eventStreamType)) {
      openedBy(1)
      reply.raw.once('close', () => openedBy(-1))
    }
  }
}

/** Counts what a request is refused with. */
export function countRefusal(metrics: Metrics, thrown: unknown): void {
  metrics.requestsRefused.add({ code: toAppError(thrown).code })
}
