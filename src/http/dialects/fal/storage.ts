import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import { requireUploadType } from '../../../jobs/serving/upload.ts'
import { readFileBodies } from '../../bodies.ts'
import { sendFile } from '../../send-file.ts'
import type { DialectOptions } from '../dialect.ts'
import { fieldsOf, given } from '../json-bodies.ts'
import { pictureOf } from '../pictures.ts'
import { type Call, nothingAt } from './queue.ts'

/** Uploads: an address is asked for, with the key, and the file is sent there without one. */

/** What fal's REST host is asked for: the start of an upload. */
export async function restCall({ services }: DialectOptions, { request, path }: Call) {
  if (path === 'storage/upload/initiate-multipart') {
    const message = `A file must have at most ${services.uploadLimits.bytes} bytes.`
    throw new AppError('body_too_large', message, { param: 'body' })
  }
  if (path !== 'storage/upload/initiate' || request.method !== 'POST') throw nothingAt(path)
  const type = given(fieldsOf(request.body), 'content_type') ?? 'application/octet-stream'
  // what has no type is recognised when it comes
  if (type !== 'application/octet-stream') requireUploadType(String(type))
  const { id, grant } = await services.uploadGrant(request.caller)
  const base = request.publicAddress()
  return {
    upload_url: `${base}/fal/uploads/${id}?grant=${grant}`,
    file_url: `${base}/fal/files/${id}`,
  }
}

type ById = { Params: { id: string }; Querystring: { grant?: string } }

/** PUT /fal/uploads/ID (with a grant, without a key) and GET /fal/files/ID. */
export function storageRoutes(app: FastifyInstance, { services }: DialectOptions): void {
  const { uploadLimits } = services
  readFileBodies(app, uploadLimits.bytes)

  const grantOf = ({ params, query }: FastifyRequest<ById>) => ({
    id: params.id,
    grant: String(query.grant ?? ''),
  })
  app.put<ById>(
    '/fal/uploads/:id',
    {
      bodyLimit: uploadLimits.bytes,
      config: { open: true },
      // before a byte of the body is read
      onRequest: async (request) => services.checkUploadGrant(grantOf(request)),
    },
    async (request) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const { bytes, type } = pictureOf(body, 'body', uploadLimits)
      await services.uploadGranted({ ...grantOf(request), type, client: request.caller }, bytes)
      return {}
    },
  )

  app.get<ById>('/fal/files/:id', async (request, reply) => {
    const { open } = await services.uploaded(request.params.id, request.caller)
    return sendFile(request, reply.type('image/png'), open)
  })
}
