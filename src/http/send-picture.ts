import type { FastifyReply, FastifyRequest } from 'fastify'
import { imageFiles } from '../jobs/fields.ts'
import type { KeptAddress, KeptFile } from '../jobs/serving/kept.ts'
import { formatOf, type PictureAddress, type PictureFile } from '../jobs/serving/picture.ts'
import type { Thumbnail } from '../jobs/serving/thumbnail.ts'
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
  if ('url' in picture) return redirectTo(reply, picture)
  const { image, job, isOriginal } = picture
  const { type, extension } = imageFiles[isOriginal ? 'png' : formatOf(picture)]
  const tag = `"${isOriginal ? 'original-' : ''}${image.sha256}"`
  reply.headers({ 'cache-control': whileKept(job), 'content-disposition': disposition(extension) })
  return sendTagged(request, reply, { type, tag, open: picture.open })
}

/** The same of a picture that is kept for good: it may be deleted, and caches forget it after a day. */
export function sendKept(
  request: FastifyRequest,
  reply: FastifyReply,
  kept: KeptFile | KeptAddress,
  disposition: (extension: string) => string,
): FastifyReply | Promise<FastifyReply> {
  if ('url' in kept) return redirectTo(reply, kept)
  const { sha256, format } = kept.view
  const { type, extension } = imageFiles[format]
  reply.headers({
    'cache-control': `private, max-age=${keptCacheSeconds}`,
    'content-disposition': disposition(extension),
  })
  return sendTagged(request, reply, { type, tag: `"${sha256}"`, open: kept.open })
}

interface Tagged extends Pick<PictureFile, 'open'> {
  readonly type: string
  readonly tag: string
}

/** The file, or that the client has it already. */
function sendTagged(
  request: FastifyRequest,
  reply: FastifyReply,
  { type, tag, open }: Tagged,
): FastifyReply | Promise<FastifyReply> {
  reply.header('etag', tag)
  return isUnchanged(request, tag) ? reply.code(304).send() : sendFile(request, reply.type(type), open)
}

/** How long caches have what is kept for good. */
export const keptCacheSeconds = 86_400

/** Cached for less time than it is valid, so that a browser never follows an expired address. */
function redirectTo(reply: FastifyReply, { url, seconds }: { url: string; seconds: number }): FastifyReply {
  reply.header('cache-control', `private, max-age=${Math.floor(seconds / 2)}`)
  return reply.redirect(url, 307)
}

function whileKept({ expires_at }: { readonly expires_at: string }): string {
  const seconds = Math.max(0, Math.floor((Date.parse(expires_at) - Date.now()) / 1000))
  return `private, max-age=${seconds}, immutable`
}

interface SmallPicture extends Pick<Thumbnail, 'side' | 'make'> {
  readonly image: { readonly sha256: string }
  readonly job: { readonly expires_at: string }
}

/**
 * A picture in small, which caches keep as long as the picture; or, if it cannot be made now, the way to the picture itself. It
 * comes from this server even where pictures come from the storage: what is read there crosses our own network once.
 * @param address of the picture
 */
export async function sendThumbnail(
  request: FastifyRequest,
  reply: FastifyReply,
  { image, job, side, make }: SmallPicture,
  address: string,
): Promise<FastifyReply> {
  const tag = `"${side}-${image.sha256}"`
  const unchanged = isUnchanged(request, tag)
  const bytes = unchanged ? undefined : await make()
  if (!unchanged && bytes === undefined)
    return reply.header('cache-control', 'no-store').redirect(address, 307)
  reply.headers({ etag: tag, 'cache-control': whileKept(job), 'content-disposition': 'inline' })
  if (bytes === undefined) return reply.code(304).send()
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return reply.type(imageFiles.webp.type).send(body)
}
