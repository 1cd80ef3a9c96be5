import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { requireUploadType, uploadTooLarge, wrongUploadType } from '../../jobs/serving/upload.ts'
import { readFileBodies } from '../bodies.ts'
import { isUnchanged } from '../etag.ts'
import { ErrorBody, httpFault, sendFault } from '../faults.ts'
import { sendFile } from '../send-file.ts'
import type { Services } from '../services.ts'

export const UploadView = Type.Object({
  id: Type.String({ description: 'The value for `init_image` or `mask` of a job.' }),
  width: Type.Integer({ description: 'As stored: larger pictures are scaled down.' }),
  height: Type.Integer(),
  bytes: Type.Integer(),
  expires_at: Type.String({ description: 'The time until which a new job may name it.' }),
})

/** The body is the picture itself, so every content type is read here and checked by the service. */
export function uploadRoutes(app: FastifyInstance, services: Services): void {
  const { uploadLimits } = services
  readFileBodies(app, uploadLimits.bytes)
  app.setErrorHandler((thrown, request, reply) => {
    const error = httpFault(thrown)
    if (error.code === 'body_too_large' && error.cause !== undefined) {
      const length = request.headers['content-length']
      return sendFault(reply, uploadTooLarge(uploadLimits, length === undefined ? undefined : Number(length)))
    }
    // a content type that fastify cannot even parse
    if (error.code === 'unsupported_media_type' && error.cause !== undefined) {
      return sendFault(reply, wrongUploadType(request.headers['content-type'] ?? ''))
    }
    if (error.code === 'internal')
      request.log.error({ err: thrown, url: request.url }, 'internal error while answering a request')
    return sendFault(reply, error)
  })

  const submit = {
    summary: 'Upload a picture or a mask',
    description:
      'The body is the file: a still PNG, JPEG or WebP. It is rotated as its metadata says, and everything but pixels is dropped.',
    consumes: ['image/png', 'image/jpeg', 'image/webp'],
    response: { 201: UploadView, '4xx': ErrorBody, '5xx': ErrorBody },
  }
  // before a byte of the body is read
  const onRequest = async ({ headers }: FastifyRequest) => {
    requireUploadType(headers['content-type'] ?? '')
  }
  const options = { schema: submit, config: { limited: true }, bodyLimit: uploadLimits.bytes, onRequest }
  app.post('/v1/uploads', options, async (request, reply) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const options = { type: request.headers['content-type'] ?? '', caller: request.caller }
    const upload = await services.upload(body, options)
    return reply
      .code(201)
      .headers({ location: `/v1/uploads/${upload.id}`, 'cache-control': 'no-store' })
      .send(upload)
  })

  const remove = {
    summary: 'Delete an uploaded picture',
    description: 'A job that names it and has not begun fails.',
    params: Type.Object({ id: Type.String() }),
    response: { 204: Type.Null(), '4xx': ErrorBody, '5xx': ErrorBody },
  }
  app.delete<{ Params: { id: string } }>('/v1/uploads/:id', { schema: remove }, async (request, reply) => {
    await services.removeUpload(request.params.id, request.caller)
    return reply.code(204).send()
  })

  const read = {
    summary: 'An uploaded picture, as stored',
    params: Type.Object({ id: Type.String() }),
    produces: ['image/png'],
  }
  app.get<{ Params: { id: string } }>('/v1/uploads/:id', { schema: read }, async (request, reply) => {
    const { id } = request.params
    const { open, expires_at } = await services.uploaded(id, request.caller)
    const seconds = Math.max(0, Math.floor((Date.parse(expires_at) - Date.now()) / 1000))
    const tag = `"${id}"`
    reply.headers({ etag: tag, 'cache-control': `private, max-age=${seconds}, immutable` })
    if (isUnchanged(request, tag)) return reply.code(304).send()
    return sendFile(request, reply.type('image/png'), open)
  })
}
