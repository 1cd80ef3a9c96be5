import type { FastifyReply, FastifyRequest } from 'fastify'
import { imageFiles } from '../jobs/fields.ts'
import { formatOf, type PictureAddress, type PictureFile } from '../jobs/serving/picture.ts'
import { isUnchanged } from './etag.ts'
import { sendFile } from './send-file.ts'

/**
 * A picture never changes, so caches keep it until its job expires; a client that can reach the storage is redirected there.
 * @param disposition the value of `content-disposition`, from the file's extension
 */
export function sendPicture(
  request: FastifyRequest,
  reply: FastifyReply,
  picture: PictureFile | PictureAddress,
  disposition: (extension: string) => string,
): FastifyReply | Promise<FastifyReply> {
  if ('url' in picture) {
    // cached for less time than it is valid, so that a browser never follows an expired address
    reply.header('cache-control', `private, max-age=${Math.floor(picture.seconds / 2)}`)
    return reply.redirect(picture.url, 307)
  }
  const { image, job, isOriginal } = picture
  const { type, extension } = imageFiles[isOriginal ? 'png' : formatOf(picture)]
  const seconds = Math.max(0, Math.floor((Date.parse(job.expires_at) - Date.now()) / 1000))
  const tag = `"${isOriginal ? 'original-' : ''}${image.sha256}"`
  reply.headers({
    etag: tag,
    'cache-control': `private, max-age=${seconds}, immutable`,
    'content-disposition': disposition(extension),
  })
  if (isUnchanged(request, tag)) return reply.code(304).send()
  return sendFile(request, reply.type(type), picture.open)
}
