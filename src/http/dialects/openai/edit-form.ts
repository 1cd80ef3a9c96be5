import type { FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import type { UploadLimits } from '../../../jobs/ports.ts'
import { partsOf } from '../form-data.ts'
import { type GivenPicture, pictureOf } from '../pictures.ts'

/** The multipart form of images.edit. */
export interface EditForm {
  readonly fields: ReadonlyMap<string, string>
  readonly image: GivenPicture
  readonly mask: GivenPicture | undefined
}

/** Of a field that is no file. */
const longestField = 32 * 1024
const imageNames = ['image', 'image[]', 'image[0]']

/** Rejects `invalid_request`, `body_too_large`, `invalid_upload`, `unsupported_media_type`. */
export function readEditForm({ body, headers }: FastifyRequest, limits: UploadLimits): EditForm {
  const fields = new Map<string, string>()
  const files = new Map<string, GivenPicture>()
  for (const { name: given, fileName, bytes } of partsOf(body, headers['content-type'])) {
    if (fileName === undefined) {
      if (bytes.length > longestField) throw tooLarge(given.slice(0, 100), 'is too long.')
      fields.set(given, bytes.toString())
      continue
    }
    const name = imageNames.includes(given) ? 'image' : given
    if (name !== 'image' && name !== 'mask') {
      throw invalid(name, `The file ${name} is not supported: there is image, and mask.`)
    }
    if (files.has(name)) throw onlyOne(name)
    files.set(name, pictureOf(bytes, name, limits))
  }
  const image = files.get('image')
  if (image === undefined) throw invalid('image', 'image is missing: it must be a PNG, JPEG or WebP file.')
  return { fields, image, mask: files.get('mask') }
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
