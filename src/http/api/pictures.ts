import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { imageFiles } from '../../jobs/fields.ts'
import { sendPicture } from '../send-picture.ts'
import type { Services } from '../services.ts'

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
}
