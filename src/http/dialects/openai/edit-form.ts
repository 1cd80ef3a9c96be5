import type { FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import type { UploadLimits } from '../../../jobs/ports.ts'
import { type GivenPicture, pictureOf } from '../pictures.ts'

/** The multipart form of images.edit. */
export interface EditForm {
  readonly fields: ReadonlyMap<string, string>
  readonly image: GivenPicture
  readonly mask: GivenPicture | undefined
}

/** The bounds of a form; the pictures are in memory until the last part is read. */
export function formLimits({ bytes }: UploadLimits) {
  return {
    fieldNameSize: 100,
    fieldSize: 32 * 1024,
    fields: 40,
    fileSize: bytes,
    files: 2,
    parts: 42,
    headerPairs: 20,
  }
}

const imageNames = ['image', 'image[]', 'image[0]']

/** Rejects `invalid_request`, `body_too_large`, `invalid_upload`, `unsupported_media_type`. */
export async function readEditForm(request: FastifyRequest, limits: UploadLimits): Promise<EditForm> {
  if (!request.isMultipart()) {
    throw new AppError(
      'unsupported_media_type',
      'The body must be multipart/form-data, with a file named image.',
      { param: 'content-type' },
    )
  }
  const fields = new Map<string, string>()
  const files = new Map<string, GivenPicture>()
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') {
        if (part.fieldnameTruncated || part.valueTruncated)
          throw tooLarge(part.fieldname.slice(0, 100), 'is too long.')
        fields.set(part.fieldname, String(part.value))
        continue
      }
      const name = imageNames.includes(part.fieldname) ? 'image' : part.fieldname
      if (name !== 'image' && name !== 'mask') {
        throw invalid(name, `The file ${name} is not supported: there is image, and mask.`)
      }
      if (files.has(name)) throw onlyOne(name)
      files.set(name, pictureOf(await part.toBuffer(), name, limits))
    }
  } catch (thrown) {
    throw formFault(thrown, limits)
  }
  const image = files.get('image')
  if (image === undefined) throw invalid('image', 'image is missing: it must be a PNG, JPEG or WebP file.')
  return { fields, image, mask: files.get('mask') }
}

function formFault(thrown: unknown, { bytes }: UploadLimits): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  switch (code) {
    case 'FST_FILES_LIMIT':
      return onlyOne('image')
    case 'FST_REQ_FILE_TOO_LARGE':
      return tooLarge('image', `must have at most ${bytes} bytes.`)
    case 'FST_FIELDS_LIMIT':
    case 'FST_PARTS_LIMIT':
      return tooLarge('body', 'has too many fields.')
    default:
      if (thrown instanceof AppError || (thrown instanceof Error && 'statusCode' in thrown)) return thrown
      return invalid('body', 'The body is not a complete multipart form.')
  }
}

function onlyOne(name: string): AppError {
  return invalid(name, 'There must be one image and at most one mask: a picture is made from one other.')
}

function invalid(param: string, message: string): AppError {
  return new AppError('invalid_request', message, { param })
}

function tooLarge(param: string, rule: string): AppError {
  return new AppError('body_too_large', `${param} ${rule}`, { param })
}
