import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { AppError } from '../../jobs/errors.ts'
import { previewType } from '../../jobs/previews.ts'
import { isFinal } from '../../jobs/serving/job-view.ts'
import { eventStream, eventStreamType, eventTexts, lastEventId } from '../event-stream.ts'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

type ById = { Params: { id: string } }

/** GET /v1/jobs/:id/events and GET /v1/jobs/:id/preview: a job while it is made. */
export function eventRoutes(app: FastifyInstance, services: Services): void {
  const texts = eventTexts()
  const schema = {
    summary: 'A job as it happens',
    description:
      'Server-sent events: `status` with the job, first as it is and then whenever its status or place in the queue ' +
      'changes; `progress` with its steps; `preview` with the address of a preview; last `done` with the final job, ' +
      'or `gone` with an error if it was deleted. A client that reads slowly misses what is between. It is limited how ' +
      'many streams a caller and a server have open (429, 503).',
    params: Type.Object({ id: Type.String() }),
    headers: Type.Object({ 'last-event-id': Type.Optional(Type.String()) }),
    produces: [eventStreamType],
    response: { 200: Type.String(), 204: Type.Null(), '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.get<ById>('/v1/jobs/:id/events', { schema, exposeHeadRoute: false }, async (request, reply) => {
    const gone = new AbortController()
    const leave = () => gone.abort()
    reply.raw.once('close', leave)
    const views = services.follow(request.params.id, request.caller, { signal: gone.signal })
    const { value: first } = await views.next()
    reply.header('cache-control', 'no-store')
    if (first === undefined) throw new AppError('unavailable', 'The client has left.')
    if (isFinal(first) && request.headers['last-event-id'] === lastEventId) {
      await views.return()
      return reply.code(204).send()
    }
    // nginx and others collect an answer until their buffer is full
    reply.headers({ 'content-type': eventStreamType, 'x-accel-buffering': 'no' })
    return reply.send(eventStream(first, views, { texts, leave }))
  })

  const preview = {
    summary: 'The newest preview of a job',
    description: 'Of its first picture, while it is made; only if the request asked for `previews`.',
    params: Type.Object({ id: Type.String() }),
    querystring: Type.Object({ index: Type.Optional(Type.String()) }),
    produces: [previewType],
  }
  app.get<ById>('/v1/jobs/:id/preview', { schema: preview }, async (request, reply) => {
    const { id } = request.params
    const found = await services.preview(id, request.caller)
    if (found === undefined) {
      throw new AppError('not_found', `Job ${id} has no preview now.`, { param: 'id' })
    }
    reply.headers({ 'cache-control': 'no-store', 'content-type': found.type })
    return reply.send(Buffer.from(found.bytes))
  })
}
