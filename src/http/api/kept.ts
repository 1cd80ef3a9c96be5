import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { AppError } from '../../jobs/errors.ts'
import { imageFiles } from '../../jobs/fields.ts'
import { KeptView } from '../../jobs/serving/kept.ts'
import { describeValue } from '../../jobs/wording.ts'
import { fileName } from '../content-disposition.ts'
import { ErrorBody } from '../faults.ts'
import { keptCacheSeconds, sendKept, sendThumbnail } from '../send-picture.ts'
import type { Services } from '../services.ts'
import { parseIndex, sideIn, thumbnailQuery } from './images.ts'

type ById<Query = object> = { Params: { id: string }; Querystring: Query }

const byId = Type.Object({ id: Type.String() })
const faults = { '4xx': ErrorBody, '5xx': ErrorBody }
const [usualPage, longestPage] = [50, 200]

/** Pictures that are kept for good: copies that outlive their jobs, under /v1/kept. */
export function keptRoutes(app: FastifyInstance, { kept }: Services): void {
  const keep = {
    summary: 'Keep a picture for good',
    description:
      'Copies it, so that it stays when its job expires or is deleted. Kept again it is the same (200). For callers with a key; at most PACKSHOT_KEPT_PICTURES of each. The original beside a finished picture is not copied.',
    params: Type.Object({ id: Type.String(), index: Type.Integer({ minimum: 0 }) }),
    response: { 200: KeptView, 201: KeptView, ...faults },
  }
  app.post<{ Params: { id: string; index: string } }>(
    '/v1/jobs/:id/images/:index/keep',
    { schema: keep },
    async (request, reply) => {
      const { id, index } = request.params
      const { view, isNew } = await kept.keep(id, parseIndex(index), request.caller)
      return reply
        .code(isNew ? 201 : 200)
        .header('location', view.links.self)
        .send(view)
    },
  )

  const list = {
    summary: 'The pictures that a caller keeps for good',
    description: 'Those of the newest jobs first.',
    querystring: Type.Object({
      after: Type.Optional(Type.String({ description: 'The `next` of the page before.' })),
      limit: Type.Optional(Type.Integer({ description: `From 1 to ${longestPage}. Absent: ${usualPage}.` })),
    }),
    response: {
      200: Type.Object({
        kept: Type.Array(KeptView),
        count: Type.Integer({ description: 'Of all pages.' }),
        limit: Type.Integer({ description: 'How many there may be.' }),
        next: Type.Optional(Type.String({ description: 'Where the list continues.' })),
      }),
      ...faults,
    },
  }
  app.get<{ Querystring: { after?: string; limit?: string } }>(
    '/v1/kept',
    { schema: list },
    async (request, reply) => {
      const { after, limit } = request.query
      reply.header('cache-control', 'no-store')
      const page = { most: pageIn(limit), ...(after === undefined ? {} : { after }) }
      return kept.list(request.caller, page)
    },
  )

  const read = {
    summary: 'A picture that is kept for good: what is known of it',
    params: byId,
    response: { 200: KeptView, ...faults },
  }
  app.get<ById>('/v1/kept/:id', { schema: read }, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    return kept.view(request.params.id, request.caller)
  })

  const remove = {
    summary: 'Delete a picture that is kept for good',
    description: 'Its job stays as it is.',
    params: byId,
    response: { 204: Type.Null(), ...faults },
  }
  app.delete<ById>('/v1/kept/:id', { schema: remove }, async (request, reply) => {
    await kept.remove(request.params.id, request.caller)
    return reply.code(204).send()
  })

  const image = {
    summary: 'A picture that is kept for good',
    description: 'With `?download=1` a browser saves it under a name made from its prompt and seed.',
    params: byId,
    querystring: Type.Object({ download: Type.Optional(Type.Literal('1')) }),
    produces: Object.values(imageFiles).map(({ type }) => type),
  }
  app.get<ById<{ download?: string }>>('/v1/kept/:id/image', { schema: image }, async (request, reply) => {
    const download = request.query.download === '1'
    const found = await kept[download ? 'file' : 'fileOrAddress'](request.params.id, request.caller)
    const { request: made, seed } = found.view
    const name = (extension: string) => fileName(made?.prompt ?? '', seed, extension)
    return sendKept(
      request,
      reply,
      found,
      (extension) => `${download ? 'attachment' : 'inline'}; ${name(extension)}`,
    )
  })

  const small = {
    summary: 'A picture that is kept for good, in small',
    description: 'As the thumbnail of a job.',
    params: byId,
    querystring: thumbnailQuery,
    produces: [imageFiles.webp.type],
  }
  app.get<ById<{ side?: string }>>('/v1/kept/:id/thumbnail', { schema: small }, async (request, reply) => {
    const { view, ...rest } = await kept.thumbnail(request.params.id, sideIn(request.query), request.caller)
    const expires_at = new Date(Date.now() + keptCacheSeconds * 1000).toISOString()
    return sendThumbnail(request, reply, { ...rest, image: view, job: { expires_at } }, view.url)
  })
}

/** Throws `invalid_request`. */
function pageIn(limit: string | undefined): number {
  if (limit === undefined) return usualPage
  if (/^\d{1,3}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= longestPage) return Number(limit)
  const message = `limit must be a whole number from 1 to ${longestPage}, but was ${describeValue(limit)}.`
  throw new AppError('invalid_request', message, { param: 'limit', faults: [{ param: 'limit', message }] })
}
