import type { FastifyInstance } from 'fastify'
import { AppError } from '../../jobs/errors.ts'

/** multipart/form-data (RFC 7578), read whole: forms have a picture or two, and their bytes are wanted at once. */

export interface FormPart {
  readonly name: string
  /** Present for a file. */
  readonly fileName?: string
  readonly bytes: Buffer
}

const mostParts = 50
/** Of all headers of a part. */
const mostHeaderBytes = 4096
const crlf = Buffer.from('\r\n')
const endOfHeaders = Buffer.from('\r\n\r\n')

/** Reads such bodies as bytes, up to the limit. They come through fastify, so that slow ones are ended like all others. */
export function readForms(app: FastifyInstance, bodyLimit: number): void {
  app.addContentTypeParser('multipart/form-data', { parseAs: 'buffer', bodyLimit }, (_request, body, done) =>
    done(null, body),
  )
}

/**
 * The parts of a body of this content type, in order. Rejects `unsupported_media_type` for a body that is no form,
 * `invalid_request` for one that is not complete, `body_too_large` for more than 50 parts.
 */
export function partsOf(body: unknown, type = ''): FormPart[] {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))/i.exec(type) ?? []
  const boundary = quoted ?? plain
  if (!Buffer.isBuffer(body) || boundary === undefined) {
    const message = 'content-type must be multipart/form-data, with its boundary.'
    throw new AppError('unsupported_media_type', message, { param: 'content-type' })
  }
  const delimiter = Buffer.from(`--${boundary}`, 'latin1')
  const between = Buffer.concat([crlf, delimiter])
  const parts: FormPart[] = []
  let at = body.indexOf(delimiter)
  for (;;) {
    if (at < 0) throw incomplete()
    const start = at + delimiter.length
    if (body.toString('latin1', start, start + 2) === '--') return parts
    const headersAt = body.indexOf(crlf, start)
    const bytesAt = headersAt < 0 ? -1 : body.indexOf(endOfHeaders, headersAt)
    const end = bytesAt < 0 ? -1 : body.indexOf(between, bytesAt + crlf.length)
    if (end < 0 || bytesAt - headersAt > mostHeaderBytes) throw incomplete()
    if (parts.length === mostParts) {
      throw new AppError('body_too_large', `A form must have at most ${mostParts} parts.`, { param: 'body' })
    }
    const bytes = body.subarray(Math.min(end, bytesAt + endOfHeaders.length), end)
    parts.push({ ...named(body.toString('utf8', headersAt, bytesAt)), bytes })
    at = end + crlf.length
  }
}

/** From `content-disposition: form-data; name="image"; filename="a.png"`. */
function named(headers: string): Omit<FormPart, 'bytes'> {
  const [, disposition = ''] = /\r\ncontent-disposition:\s*form-data\s*;([^\r]*)/i.exec(headers) ?? []
  const parameter = (key: string) => {
    const [, quoted, plain] =
      new RegExp(`(?:^|;)\\s*${key}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s"]+))`, 'i').exec(disposition) ?? []
    return quoted?.replaceAll('%22', '"').replaceAll(/\\(["\\])/g, '$1') ?? plain
  }
  const name = parameter('name')
  if (name === undefined) throw incomplete()
  const fileName = parameter('filename')
  return { name, ...(fileName === undefined ? {} : { fileName }) }
}

function incomplete(): AppError {
  return new AppError('invalid_request', 'The body is not a complete multipart form.', { param: 'body' })
}
