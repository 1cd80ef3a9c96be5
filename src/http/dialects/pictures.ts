import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Caller } from '../../jobs/caller.ts'
import { AppError } from '../../jobs/errors.ts'
import type { UploadLimits } from '../../jobs/ports.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { Services } from '../services.ts'

/** Pictures in bodies: base64, bare or as a data: address. */

export interface GivenPicture {
  readonly bytes: Buffer
  /** Its content type, by its first bytes. */
  readonly type: string
  /** The field that had it, for faults. */
  readonly param: string
}

/** Four characters for three bytes, and what comes before them in a data: address. */
export function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3) + 128
}

/**
 * A picture from the text of a field. Rejects `invalid_request` for an address of another kind and for what is no
 * base64, `body_too_large`, `invalid_upload` for bytes that are no PNG, JPEG or WebP.
 */
export function pictureFrom(value: unknown, param: string, limits: UploadLimits): GivenPicture {
  if (typeof value !== 'string' || value === '') {
    throw fault('invalid_request', param, `${param} must be a picture in base64.`)
  }
  const [head] = /^data:[^,]{0,100},/i.exec(value) ?? []
  if (head === undefined && /^[a-z][a-z0-9+.-]{0,20}:/i.test(value)) {
    throw fault(
      'invalid_request',
      param,
      `${param} must be a picture in base64 or a data: address; addresses are not fetched.`,
    )
  }
  if (head !== undefined && !/;base64,$/i.test(head)) {
    throw fault('invalid_request', param, `${param} must be a data: address in base64.`)
  }
  const text = head === undefined ? value : value.slice(head.length)
  if (text.length > base64Length(limits.bytes)) throw tooLarge(param, limits)
  // Buffer.from skips what is no base64: other bytes than were meant would be decoded
  if (/[^A-Za-z0-9+/\-_=\s]|=[^=\s]/.test(text)) {
    throw fault('invalid_request', param, `${param} is not base64.`)
  }
  return pictureOf(Buffer.from(text, 'base64'), param, limits)
}

/** A picture as bytes. Rejects like `pictureFrom`. */
export function pictureOf(bytes: Buffer, param: string, limits: UploadLimits): GivenPicture {
  if (bytes.length > limits.bytes) throw tooLarge(param, limits)
  const type = typeOf(bytes)
  if (type === undefined) {
    throw fault('invalid_upload', param, `${param} must be a PNG, JPEG or WebP picture.`)
  }
  return { bytes, type, param }
}

function typeOf(bytes: Buffer): string | undefined {
  if (bytes.toString('latin1', 0, 4) === '\x89PNG') return 'image/png'
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'image/jpeg'
  const riff = bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP'
  return riff ? 'image/webp' : undefined
}

/** How long an upload is found again by what is in it; a client repeats a request within minutes. */
const knownSeconds = 1800

/**
 * Stores a picture for a job and returns the id of the upload. The same file of the same caller is not stored again
 * for a while: a request that is repeated then asks for the same job. Rejects like `Services.upload`, with the field's
 * name as `param`.
 */
export async function store(services: Services, caller: Caller, picture: GivenPicture): Promise<string> {
  const { bytes, type, param } = picture
  const name = `upload:${createHash('sha256').update(bytes).digest('base64url')}`
  const known = await services.noted(caller, name)
  if (known !== undefined && (await isThere(services, caller, known))) return known
  try {
    const { id } = await services.upload(bytes, { type, caller })
    await services.note(caller, name, id, knownSeconds)
    return id
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.param !== 'body') throw thrown
    throw new AppError(thrown.code, `${param}: ${thrown.message}`, { param, cause: thrown })
  }
}

async function isThere(services: Services, caller: Caller, id: string): Promise<boolean> {
  try {
    const { open } = await services.uploaded(id, caller)
    const { body } = await open()
    if (body instanceof Readable) body.destroy()
    return true
  } catch {
    return false
  }
}

/** Picture `index` of a job that succeeded. Rejects like `Services.image`. */
export async function bytesOf(
  services: Services,
  { id }: JobView,
  index: number,
  caller: Caller,
): Promise<Buffer> {
  const { open } = await services.image(id, index, caller)
  const { body } = await open()
  return body instanceof Readable ? buffer(body) : Buffer.from(body)
}

function tooLarge(param: string, { bytes }: UploadLimits): AppError {
  return fault('body_too_large', param, `${param} must have at most ${bytes} bytes.`)
}

function fault(
  code: 'invalid_request' | 'invalid_upload' | 'body_too_large',
  param: string,
  message: string,
) {
  return new AppError(code, message, { param })
}
