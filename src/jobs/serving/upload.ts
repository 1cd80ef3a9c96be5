import { type Caller, requireScope } from '../caller.ts'
import { AppError, type ErrorCode, type Fault } from '../errors.ts'
import { backgroundUpload } from '../finish.ts'
import type { ResolvedRequest } from '../job.ts'
import { expiryOf, hasExpired, type JobIds } from '../job-id.ts'
import type { ImageStore, PictureReader, RateLimiter, StoredFile, UploadLimits } from '../ports.ts'
import { describeValue } from '../wording.ts'
import { checkRate } from './rate.ts'
import type { Space } from './space.ts'

/**
 * Pictures from outside that jobs start from.
 *
 * An upload can be named by new jobs for as long as a result is kept (`ttlSeconds`). It is kept for twice that time:
 * a job that named it at the last moment has ended or expired when it is deleted. So nothing is copied, and no
 * upload needs a list of its jobs.
 */

export interface UploadDeps {
  readonly ids: JobIds
  readonly images: ImageStore
  readonly pictures: PictureReader
  readonly uploadLimits: UploadLimits
  readonly ttlSeconds: number
  readonly now: () => Date
  readonly limiter: RateLimiter
  readonly space: Space
}

/** An upload. Width and height of the stored picture in pixels; `bytes` is the size of the stored PNG. */
export interface Upload {
  readonly id: string
  readonly width: number
  readonly height: number
  readonly bytes: number
  /** The time until which a new job may name it. */
  readonly expires_at: string
}

/** The content types that can be uploaded, and how to recognise their files. */
const uploadTypes = {
  'image/png': (bytes: Buffer) => bytes.subarray(0, 8).equals(pngSignature),
  'image/jpeg': (bytes: Buffer) => bytes.subarray(0, 3).equals(Buffer.of(0xff, 0xd8, 0xff)),
  'image/webp': (bytes: Buffer) =>
    bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP',
} as const
type UploadType = keyof typeof uploadTypes

const pngSignature = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
const typeNames = Object.keys(uploadTypes).join(', ')

interface UploadOptions {
  readonly type: string
  readonly caller: Caller
  /** One that was issued to the caller before; absent: a new one. */
  readonly id?: string
}

/**
 * Stores a picture. Rejects `unsupported_media_type`, `body_too_large`, `invalid_upload`, `forbidden`, `rate_limited`,
 * `unavailable`, `storage_full`.
 */
export async function acceptUpload(
  deps: UploadDeps,
  body: Uint8Array,
  { type, caller, id: issued }: UploadOptions,
): Promise<Upload> {
  const { ids, images, pictures, uploadLimits, ttlSeconds } = deps
  requireScope(caller, 'uploads')
  await checkRate(deps.limiter, caller)
  checkType(body, type)
  if (body.byteLength > uploadLimits.bytes) throw uploadTooLarge(uploadLimits, body.byteLength)
  const { png, width, height } = await pictures.normalise(body, uploadLimits)
  const now = deps.now()
  const id = issued ?? ids.uploads.issue(now, caller.name)
  const bytes = png.byteLength
  await checkRate(deps.limiter, caller, 'uploadBytes', bytes)
  try {
    await deps.space.take('uploads', bytes)
    await images.putUpload(id, png)
  } catch (thrown) {
    await deps.limiter.take(caller, 'uploadBytes', -bytes)
    throw thrown
  }
  return { id, width, height, bytes, expires_at: expiryOf(now.toISOString(), ttlSeconds) }
}

export function uploadTooLarge({ bytes }: UploadLimits, given: number | undefined): AppError {
  const said = given === undefined ? '' : `, but had ${given}`
  return new AppError('body_too_large', `A picture must have at most ${bytes} bytes${said}.`, {
    param: 'body',
  })
}

/** The formats of phones that cannot be read here, by their content types and by the brand in a file. */
const heic = { type: /^image\/hei[cf](-sequence)?$/, brand: /^....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)/s }
const convert =
  'HEIC photos cannot be read: save the photo as JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible).'

export function wrongUploadType(type: string): AppError {
  if (heic.type.test(type)) return new AppError('unsupported_media_type', convert, { param: 'content-type' })
  const given = type === '' ? 'missing' : describeValue(type)
  const message = `content-type must be one of ${typeNames}, but was ${given}.`
  return new AppError('unsupported_media_type', message, { param: 'content-type' })
}

/** The content type without its parameters. Throws `unsupported_media_type` for one that cannot be uploaded. */
export function requireUploadType(type: string): UploadType {
  const declared = type.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (!isUploadType(declared)) throw wrongUploadType(declared)
  return declared
}

function checkType(body: Uint8Array, type: string): void {
  const declared = requireUploadType(type)
  const head = Buffer.from(body.buffer, body.byteOffset, Math.min(16, body.byteLength))
  if (uploadTypes[declared](head)) return
  const found = Object.entries(uploadTypes).find(([, begins]) => begins(head))?.[0]
  if (heic.brand.test(head.toString('latin1')))
    throw new AppError('invalid_upload', convert, { param: 'body' })
  const said = found === undefined ? 'is not' : `is ${found}`
  throw new AppError('invalid_upload', `The body must be ${declared}, as content-type says, but ${said}.`, {
    param: 'body',
  })
}

function isUploadType(text: string): text is UploadType {
  return Object.hasOwn(uploadTypes, text)
}

type ReadDeps = Pick<UploadDeps, 'ids' | 'images' | 'ttlSeconds' | 'now'>

/** Deletes an upload; one that is deleted already is no fault. Rejects `not_found`, `forbidden`, `unavailable`. */
export async function deleteUpload(
  { ids, images }: Pick<UploadDeps, 'ids' | 'images'>,
  id: string,
  caller: Caller,
): Promise<void> {
  requireScope(caller, 'uploads')
  ids.uploads.verify(id, caller.name)
  await images.deleteUpload(id)
}

/** Why an upload that was there is not. */
const gone: Partial<Record<ErrorCode, string>> = {
  expired: 'which has expired: upload the picture again',
  deleted: 'which was deleted: upload the picture again',
}

/** The PNG of an upload. Throws `not_found` for an id that was never issued, or `expired`; opening it rejects `deleted`. */
export function findUpload(
  deps: ReadDeps,
  id: string,
  owner?: string,
): { open(): Promise<StoredFile>; expires_at: string } {
  checkId(deps, id, owner)
  return {
    open: () => find(deps, id, owner, deps.images.openUpload),
    expires_at: expiryOf(deps.ids.issuedAt(id).toISOString(), deps.ttlSeconds),
  }
}

async function find<T>(
  deps: ReadDeps,
  id: string,
  owner: string | undefined,
  get: (id: string) => Promise<T | undefined>,
): Promise<T> {
  checkId(deps, id, owner)
  const found = await get(id)
  if (found === undefined) throw new AppError('deleted', 'The upload was deleted.', { param: 'id' })
  return found
}

function checkId({ ids, ttlSeconds, now }: ReadDeps, id: string, owner: string | undefined): void {
  ids.uploads.verify(id, owner)
  if (!hasExpired(id, ttlSeconds, now())) return
  throw new AppError('expired', 'The upload has expired.', { param: 'id' })
}

/** What is wrong with the uploads that a request names; rejects `unavailable` when the store does not answer. */
export async function uploadFaults(
  deps: ReadDeps,
  { init_image, mask, finish }: ResolvedRequest,
  owner?: string,
): Promise<Fault[]> {
  const faults: Fault[] = []
  const look = async (param: string, id: string | undefined) => {
    if (id === undefined) return undefined
    try {
      return await sizeOfUpload(deps, id, owner)
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code === 'unavailable') throw thrown
      const why = gone[thrown.code] ?? 'which was never issued'
      const message = `${param} must be the id of an upload (POST /v1/uploads), but was ${describeValue(id)}, ${why}.`
      faults.push({ param, message })
      return undefined
    }
  }
  const picture = await look('init_image', init_image)
  const painted = await look('mask', mask)
  await look('finish.background', backgroundUpload(finish))
  if (picture === undefined || painted === undefined) return faults
  const [a, b] = [picture, painted]
  // rounding may shift two sizes of one picture by a pixel
  if (Math.abs(a.width * b.height - a.height * b.width) > Math.max(a.width, a.height, b.width, b.height)) {
    const message = `mask must have the shape of init_image, which is ${a.width}x${a.height}, but was ${b.width}x${b.height}.`
    faults.push({ param: 'mask', message })
  }
  return faults
}

/** Reads the header only, which comes first in a PNG made by `normalise`. Rejects `not_found`, `expired`, `deleted`. */
async function sizeOfUpload(
  deps: ReadDeps,
  id: string,
  owner: string | undefined,
): Promise<{ readonly width: number; readonly height: number }> {
  const head = await find(deps, id, owner, deps.images.getUploadHead)
  const header = new DataView(head.buffer, head.byteOffset, head.byteLength)
  return { width: header.getUint32(16), height: header.getUint32(20) }
}
