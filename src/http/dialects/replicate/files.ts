import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import { bodyLimit } from '../../faults.ts'
import type { DialectOptions } from '../dialect.ts'
import { type FormPart, partsOf, readForms } from '../form-data.ts'
import { pictureOf, store } from '../pictures.ts'

type ById = { Params: { id: string } }

/** POST /v1/files (multipart: `content`), GET and DELETE /v1/files/ID. A file is an upload, and has its id. */
export function fileRoutes(app: FastifyInstance, { services }: DialectOptions): void {
  const most = services.uploadLimits.bytes + bodyLimit
  readForms(app, most)

  app.post('/v1/files', { bodyLimit: most }, async (request, reply) => {
    const { bytes, fileName } = contentOf(request)
    const picture = pictureOf(bytes, 'content', services.uploadLimits)
    const id = await store(services, request.caller, picture)
    const view = await viewOf(id, request)
    return reply.code(201).send({ ...view, name: fileName })
  })

  app.get<ById>('/v1/files/:id', (request) => viewOf(request.params.id, request))

  app.delete<ById>('/v1/files/:id', async (request, reply) => {
    await services.removeUpload(request.params.id, request.caller)
    return reply.code(204).send()
  })

  async function viewOf(id: string, request: FastifyRequest) {
    const { open, expires_at } = await services.uploaded(id, request.caller)
    const { bytes, body } = await open()
    if (body instanceof Readable) body.destroy()
    const get = `${request.publicAddress()}/v1/files/${id}`
    return {
      id,
      name: 'picture.png',
      content_type: 'image/png',
      size: bytes,
      etag: id,
      checksums: {},
      metadata: {},
      expires_at,
      urls: { get },
    }
  }
}

/** The file of a form. Rejects like `partsOf`. */
function contentOf({ body, headers }: FastifyRequest): FormPart {
  const content = partsOf(body, headers['content-type']).find(({ name }) => name === 'content')
  if (content?.fileName !== undefined) return content
  const message = `content ${content === undefined ? 'is missing: it ' : ''}must be a file.`
  throw new AppError('invalid_request', message, { param: 'content' })
}
