import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { jobRequestSchema } from '../../jobs/request/schema.ts'
import { JobView } from '../../jobs/serving/job-view.ts'
import { isUnchanged, weakTag } from '../etag.ts'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

type ById = { Params: { id: string } }
const byId = Type.Object({ id: Type.String() })

/** POST /v1/jobs, GET and DELETE /v1/jobs/:id. Schemas describe and serialise; `Services` validates. */
export function jobRoutes(app: FastifyInstance, services: Services): void {
  app.setValidatorCompiler(() => () => true)

  const submit = {
    summary: 'Ask for pictures',
    headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
    body: jobRequestSchema(services.limits),
    response: { 202: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.post('/v1/jobs', { schema: submit }, async (request, reply) => {
    const key = request.headers['idempotency-key']
    const view = await services.submit(request.body, {
      caller: services.caller(request.ip),
      ...traceOf(request),
      ...(typeof key === 'string' ? { idempotencyKey: key } : {}),
    })
    setWaitHeaders(reply, view)
    return reply.code(202).header('location', view.links.self).send(view)
  })

  const read = {
    summary: 'What became of a job',
    params: byId,
    response: { 200: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.get<ById>('/v1/jobs/:id', { schema: read }, async (request, reply) => {
    const view = await services.view(request.params.id)
    const { eta_seconds: _eta, poll_after_ms: _poll, ...content } = view
    const tag = weakTag(content)
    setWaitHeaders(reply, view)
    reply.header('etag', tag)
    return isUnchanged(request, tag) ? reply.code(304).send() : view
  })

  app.delete<ById>(
    '/v1/jobs/:id',
    { schema: { ...read, summary: 'Cancel a job' } },
    async (request, reply) => {
      const view = await services.cancel(request.params.id)
      setWaitHeaders(reply, view)
      return view
    },
  )
}

/**
 * The trace that a request belongs to, from its `traceparent` (W3C Trace Context, version 00). One that is malformed is
 * ignored, as the specification asks.
 */
function traceOf({ headers }: FastifyRequest): { trace?: string } {
  const given = headers.traceparent
  const valid =
    typeof given === 'string' && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(given)
  return valid ? { trace: given } : {}
}

/** `Retry-After` has whole seconds only; `poll_after_ms` in the body is the finer number. */
function setWaitHeaders(reply: FastifyReply, view: JobView): void {
  reply.header('cache-control', 'no-cache')
  if (view.poll_after_ms !== undefined) reply.header('retry-after', Math.ceil(view.poll_after_ms / 1000))
}
