import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { imageFiles } from '../../jobs/fields.ts'
import { formatOf } from '../../jobs/serving/picture.ts'
import { isUnchanged } from '../etag.ts'
import { sendFile } from '../send-file.ts'
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
      if ('url' in picture) {
        reply.header('cache-control', `private, max-age=${Math.floor(picture.seconds / 2)}`)
        return reply.redirect(picture.url, 307)
      }
      const { image, job } = picture
      const { type, extension } = imageFiles[formatOf(picture)]
      const seconds = Math.max(0, Math.floor((Date.parse(job.expires_at) - Date.now()) / 1000))
      const tag = `"${image.sha256}"`
      reply.headers({
        etag: tag,
        'cache-control': `private, max-age=${seconds}, immutable`,
        'content-disposition': `inline; filename="picture.${extension}"`,
      })
      if (isUnchanged(request, tag)) return reply.code(304).send()
      return sendFile(request, reply.type(type), picture.open)
    },
  )
}
