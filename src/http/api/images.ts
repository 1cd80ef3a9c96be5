import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { AppError } from '../../jobs/errors.ts'
import { imageFiles } from '../../jobs/fields.ts'
import { type ThumbnailSide, thumbnailSides } from '../../jobs/serving/thumbnail.ts'
import { describeValue } from '../../jobs/wording.ts'
import { fileName } from '../content-disposition.ts'
import { sendPicture, sendThumbnail } from '../send-picture.ts'
import type { Services } from '../services.ts'

interface Address {
  Params: { id: string; index: string }
  Querystring: { download?: string }
}

/**
 * GET /v1/jobs/:id/images/:index. A picture never changes, so caches keep it until its job expires. Clients that can
 * reach the storage are redirected there.
 */
export function imageRoutes(app: FastifyInstance, services: Services): void {
  const schema = {
    summary: 'A picture of a job',
    description: 'With `?download=1` a browser saves it under a name made from its prompt and seed.',
    params: Type.Object({ id: Type.String(), index: Type.Integer({ minimum: 0 }) }),
    querystring: Type.Object({ download: Type.Optional(Type.Literal('1')) }),
    produces: Object.values(imageFiles).map(({ type }) => type),
  }
  app.get<Address>('/v1/jobs/:id/images/:index', { schema }, async (request, reply) => {
    const { id, index } = request.params
    const download = request.query.download === '1'
    const picture = await services[download ? 'image' : 'imageOrAddress'](
      id,
      parseIndex(index),
      request.caller,
    )
    const disposition = download ? 'attachment' : 'inline'
    return sendPicture(request, reply, picture, (extension) => {
      const { image, job } = picture
      return `${disposition}; ${fileName(job.request?.prompt ?? '', image.seed, extension)}`
    })
  })
}

/** GET /v1/jobs/:id/images/:index/original. */
export function originalRoutes(app: FastifyInstance, services: Services): void {
  const schema = {
    summary: 'A finished picture as it was drawn',
    description: 'A PNG. 404 for a picture that was delivered as it was drawn.',
    params: Type.Object({ id: Type.String(), index: Type.Integer({ minimum: 0 }) }),
    produces: [imageFiles.png.type],
  }
  app.get<Address>('/v1/jobs/:id/images/:index/original', { schema }, async (request, reply) => {
    const { id, index } = request.params
    const picture = await services.original(id, parseIndex(index), request.caller)
    return sendPicture(request, reply, picture, (extension) => {
      const { image, job } = picture
      return `inline; ${fileName(job.request?.prompt ?? '', image.seed, extension)}`
    })
  })
}

/** `?side=` of a thumbnail. */
export const thumbnailQuery = Type.Object({
  side: Type.Optional(
    Type.Enum(thumbnailSides.map(String), { description: `Its longer side. Absent: ${thumbnailSides[0]}.` }),
  ),
})

/** Throws `invalid_request` for any other. */
export function sideIn({ side = String(thumbnailSides[0]) }: { readonly side?: string }): ThumbnailSide {
  const found = thumbnailSides.find((each) => String(each) === side)
  if (found !== undefined) return found
  const message = `side must be ${thumbnailSides.join(' or ')}, but was ${describeValue(side)}.`
  throw new AppError('invalid_request', message, { param: 'side', faults: [{ param: 'side', message }] })
}

/** GET /v1/jobs/:id/images/:index/thumbnail. */
export function thumbnailRoutes(app: FastifyInstance, services: Services): void {
  const schema = {
    summary: 'A picture in small',
    description:
      'A WebP file for lists of many. A redirect to the picture itself if it cannot be made at the moment.',
    params: Type.Object({ id: Type.String(), index: Type.Integer({ minimum: 0 }) }),
    querystring: thumbnailQuery,
    produces: [imageFiles.webp.type],
  }
  app.get<Address & { Querystring: { side?: string } }>(
    '/v1/jobs/:id/images/:index/thumbnail',
    { schema },
    async (request, reply) => {
      const { id, index } = request.params
      const small = await services.thumbnail(id, parseIndex(index), sideIn(request.query), request.caller)
      return sendThumbnail(request, reply, small, small.image.url)
    },
  )
}

/** Throws `not_found` for what is no index. */
export function parseIndex(text: string): number {
  if (/^(0|[1-9]\d{0,3})$/.test(text)) return Number(text)
  const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text
  throw new AppError('not_found', `Pictures are numbered 0, 1, 2, ...; there is no picture ${shown}.`, {
    param: 'index',
  })
}
