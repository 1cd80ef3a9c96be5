import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { imageFiles } from '../../jobs/fields.ts'
import { sendPicture, sendThumbnail } from '../send-picture.ts'
import type { Services } from '../services.ts'
import { sideIn, thumbnailQuery } from './images.ts'

/**
 * GET /v1/pictures/:link. Whoever has the link has the picture and nothing else of its job: no prompt, no other picture,
 * and no way to cancel it. Pages of other sites may show it.
 */
export function pictureRoutes(app: FastifyInstance, services: Services): void {
  const schema = {
    summary: 'A picture by its link',
    description: 'The `link` of a picture in a job. It needs no key.',
    params: Type.Object({ link: Type.String() }),
    produces: Object.values(imageFiles).map(({ type }) => type),
  }
  app.get<{ Params: { link: string } }>(
    '/v1/pictures/:link',
    { schema, config: { open: true } },
    async (request, reply) => {
      const picture = await services.linkedImage(request.params.link)
      reply.headers({ 'cross-origin-resource-policy': 'cross-origin', 'access-control-allow-origin': '*' })
      return sendPicture(request, reply, picture, (extension) => `inline; filename="picture.${extension}"`)
    },
  )
  const small = {
    summary: 'A picture in small, by its link',
    description: 'As the thumbnail of a job. It needs no key.',
    params: Type.Object({ link: Type.String() }),
    querystring: thumbnailQuery,
    produces: [imageFiles.webp.type],
  }
  app.get<{ Params: { link: string }; Querystring: { side?: string } }>(
    '/v1/pictures/:link/thumbnail',
    { schema: small, config: { open: true } },
    async (request, reply) => {
      const thumbnail = await services.linkedThumbnail(request.params.link, sideIn(request.query))
      reply.headers({ 'cross-origin-resource-policy': 'cross-origin', 'access-control-allow-origin': '*' })
      return sendThumbnail(request, reply, thumbnail, thumbnail.image.link)
    },
  )
}
