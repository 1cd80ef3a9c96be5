import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { jobRequestSchema } from '../../jobs/fields.ts'
import { invalidRequest } from '../../jobs/request/resolve.ts'
import { isFinal, JobView } from '../../jobs/serving/job-view.ts'
import type { SubmitOptions } from '../../jobs/serving/submit.ts'
import { isTraceparent } from '../../jobs/tracing.ts'
import { describeValue } from '../../jobs/wording.ts'
import { isUnchanged, weakTag } from '../etag.ts'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

type ById = { Params: { id: string } }
const byId = Type.Object({ id: Type.String() })

/** A field that is repeated is a list: `?status=queued&status=running`. */
type ListQuery = Partial<Record<'status' | 'cursor' | 'limit', string | string[]>>

/** Proxies close a connection that is silent for longer, most of them after 60 seconds. */
const longestWaitSeconds = 50
const preferHeader = {
  prefer: Type.Optional(
    Type.String({
      description: `\`wait=N\`: answer when the job is final, or after N seconds, at most ${longestWaitSeconds}.`,
    }),
  ),
}

/** Whether what is done shall be kept. Any other body has no effect, as before there was this field. */
function keepIn(body: unknown): boolean {
  const { keep = false } = (typeof body === 'object' && body !== null ? body : {}) as { keep?: unknown }
  if (typeof keep === 'boolean') return keep
  throw invalidRequest([
    { param: 'keep', message: `keep must be true or false, but was ${describeValue(keep)}.` },
  ])
}

/** POST and GET /v1/jobs, GET and DELETE /v1/jobs/:id, POST /v1/jobs/:id/cancel and
 * /finish. Schemas describe and serialise; `Services` validates. */
export function jobRoutes(app: FastifyInstance, services: Services): void {
  app.setValidatorCompiler(() => () => true)

  /** The job after the wait that the request prefers; undefined if it prefers none. */
  const waitedFor = async (request: FastifyRequest, reply: FastifyReply, id: string) => {
    const seconds = preferredWait(request)
    if (seconds === undefined) return undefined
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    reply.header('preference-applied', `wait=${seconds}`)
    return services.untilFinal(id, request.caller, { ms: seconds * 1000, signal: gone.signal })
  }

  const submit = {
    summary: 'Request pictures',
    headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()), ...preferHeader }),
    body: jobRequestSchema(services.limits),
    response: { 200: JobView, 202: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  /** Answers with a job that was accepted. */
  const accepted = async (
    request: FastifyRequest,
    reply: FastifyReply,
    accept: (options: SubmitOptions) => Promise<JobView>,
  ) => {
    const key = request.headers['idempotency-key']
    const view = await accept({
      caller: request.caller,
      base: request.publicAddress(),
      ...traceOf(request),
      ...(typeof key === 'string' ? { idempotencyKey: key } : {}),
    })
    reply.header('location', view.links.self)
    const waited = await waitedFor(request, reply, view.id)
    const latest = waited ?? view
    setWaitHeaders(reply, latest)
    return reply.code(waited !== undefined && isFinal(waited) ? 200 : 202).send(latest)
  }
  app.post('/v1/jobs', { schema: submit, config: { limited: true } }, (request, reply) =>
    accepted(request, reply, (options) => services.submit(request.body, options)),
  )

  const list = {
    summary: "The caller's jobs, newest first",
    description:
      'Only for callers with a key. The newest 1000 at most, as far as the status store remembers them: after it was ' +
      'emptied, earlier jobs are not listed, but still answered by their ids. A page may be shorter than `limit`.',
    querystring: Type.Object({
      status: Type.Optional(Type.String({ description: 'One or more statuses, with commas between.' })),
      cursor: Type.Optional(Type.String({ description: 'The `next` of the page before.' })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    }),
    response: {
      200: Type.Object({
        jobs: Type.Array(JobView),
        next: Type.Optional(Type.String({ description: 'The cursor of the next page; absent at the end.' })),
      }),
      '4xx': ErrorBody,
      '5xx': ErrorBody,
    },
  }
  app.get<{ Querystring: ListQuery }>('/v1/jobs', { schema: list }, async (request, reply) => {
    const { status, cursor, limit } = request.query
    reply.header('cache-control', 'no-store')
    return services.list(request.caller, {
      status: status === undefined ? undefined : String(status),
      cursor: cursor === undefined ? undefined : String(cursor),
      limit: limit === undefined ? undefined : String(limit),
    })
  })

  const read = {
    summary: 'The state of a job',
    params: byId,
    headers: Type.Object(preferHeader),
    response: { 200: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.get<ById>('/v1/jobs/:id', { schema: read }, async (request, reply) => {
    const { id } = request.params
    const view = (await waitedFor(request, reply, id)) ?? (await services.view(id, request.caller))
    const { eta_seconds: _eta, poll_after_ms: _poll, ...content } = view
    const tag = weakTag(content)
    setWaitHeaders(reply, view)
    reply.header('etag', tag)
    return isUnchanged(request, tag) ? reply.code(304).send() : view
  })

  const { finish, format, quality, priority, webhook } = jobRequestSchema(services.limits).properties
  const refinish = {
    summary: 'Finish a picture of a job again',
    description: 'A new job that draws nothing: the picture as it was drawn is finished in another way.',
    params: byId,
    headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()), ...preferHeader }),
    body: Type.Object(
      {
        index: Type.Optional(Type.Integer({ minimum: 0, description: 'Which picture. Absent: the first.' })),
        finish,
        format,
        quality,
        priority,
        webhook,
      },
      { additionalProperties: false },
    ),
    response: { 200: JobView, 202: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.post<ById>('/v1/jobs/:id/finish', { schema: refinish, config: { limited: true } }, (request, reply) => {
    const { id } = request.params
    return accepted(request, reply, (options) => services.refinish(id, request.body, options))
  })

  const cancel = {
    summary: 'Cancel a job',
    description:
      'Unlike DELETE it leaves a job unchanged that has just finished. With `keep` a running job ends, a moment later, as `succeeded` with the pictures that are done, or as `canceled` if there are none.',
    params: byId,
    body: Type.Optional(Type.Object({ keep: Type.Optional(Type.Boolean()) })),
    response: { 200: JobView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.post<ById>('/v1/jobs/:id/cancel', { schema: cancel }, async (request, reply) => {
    const view = await services.cancel(request.params.id, request.caller, { keep: keepIn(request.body) })
    setWaitHeaders(reply, view)
    return view
  })

  app.delete<ById>(
    '/v1/jobs/:id',
    {
      schema: {
        ...read,
        summary: 'Cancel or delete a job',
        description:
          'Cancels a job that waits or runs. Deletes a final job: its pictures and prompts; later requests for it are answered 410.',
      },
    },
    async (request, reply) => {
      const view = await services.remove(request.params.id, request.caller)
      setWaitHeaders(reply, view)
      return view
    },
  )
}

/**
 * The seconds of `Prefer: wait=N` (RFC 7240), at most `longestWaitSeconds`; undefined if there is
 * none, or its value is not a number: the RFC says to ignore that.
 */
function preferredWait({ headers }: FastifyRequest): number | undefined {
  if (headers.prefer === undefined) return undefined
  const [, seconds] = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(String(headers.prefer)) ?? []
  return seconds === undefined ? undefined : Math.min(longestWaitSeconds, Number(seconds))
}

/**
 * The trace that a request belongs to, from its `traceparent` (W3C Trace Context, version 00). A malformed one is
 * ignored, as the specification requires.
 */
export function traceOf({ headers }: FastifyRequest): { trace?: string } {
  const given = headers.traceparent
  return isTraceparent(given) ? { trace: given } : {}
}

/** `Retry-After` has whole seconds only; `poll_after_ms` in the body is more precise. */
function setWaitHeaders(reply: FastifyReply, view: JobView): void {
  reply.header('cache-control', 'no-store')
  if (view.poll_after_ms !== undefined) reply.header('retry-after', Math.ceil(view.poll_after_ms / 1000))
}
