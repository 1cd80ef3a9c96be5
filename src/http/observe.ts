import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../jobs/errors.ts'
import { noReports, type Reports, textsIn } from '../jobs/reports.ts'
import { contextOf, isTraceparent, markError, startSpan, type TraceContext, within } from '../jobs/tracing.ts'
import { httpFault } from './faults.ts'
import { httpStatus } from './status.ts'

/** 5xx answers that are no faults: the service refuses work, or says that it is not done. */
const expected: readonly ErrorCode[] = ['queue_full', 'still_running']

/**
 * A span for each request that may change something, and a report for each 5xx that is a fault. Requests that only read
 * (polls, pages, pictures) have no span, whatever their headers say: there are thousands of them for each job.
 */
export function observeRequests(app: FastifyInstance, reports: Reports = noReports): void {
  const contexts = new WeakMap<FastifyRequest, TraceContext>()
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404 || request.method === 'GET' || request.method === 'HEAD') return done()
    const { traceparent } = request.headers
    const { method, routeOptions } = request
    const route = routeOptions.url ?? ''
    const { span, active } = startSpan(`${method} ${route}`, {
      kind: 'server',
      from: contextOf(isTraceparent(traceparent) ? traceparent : undefined),
      attributes: { 'http.request.method': method, 'http.route': route },
    })
    contexts.set(request, active)
    // also when the client is gone before the answer
    reply.raw.once('close', () => {
      span.setAttribute('http.response.status_code', reply.raw.statusCode)
      if (reply.raw.statusCode >= 500) markError(span, String(reply.raw.statusCode))
      span.end()
    })
    within(active, done)
  })
  // a body arrives on its socket, which knows nothing of the request's context
  app.addHook('preValidation', (request, _reply, done) => {
    const active = contexts.get(request)
    if (active === undefined) done()
    else within(active, done)
  })
  app.addHook('onError', async (request, _reply, thrown) => {
    const error = httpFault(thrown)
    if (httpStatus(error) < 500 || expected.includes(error.code)) return
    const { method, routeOptions, body } = request
    const tags = { method, route: routeOptions.url ?? '' }
    const secrets = [...textsIn(body), ...textsIn(request.query), ...textsIn(request.params)]
    reports.report(thrown, { of: 'request', code: error.code, tags, secrets })
  })
}
