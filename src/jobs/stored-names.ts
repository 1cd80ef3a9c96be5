import { AppError } from './errors.ts'
import { type ImageFormat, imageFiles } from './fields.ts'
import { isJobIdShaped, jobIdTime } from './job-id.ts'

/**
 * Where results are stored, in a folder or a bucket: `<yyyy-mm-dd>/<id>/0.png (or .jpg, .webp), 0.original.png, ... manifest.json`, the
 * day being that of the id. Only a well-formed id becomes part of a name.
 */

/** A picture as it is delivered, or the PNG of one as it was drawn, which is kept beside a finished one. */
export type PictureKind = ImageFormat | 'original'

export const pictureFiles = {
  ...imageFiles,
  original: { type: 'image/png', extension: 'original.png' },
} as const satisfies Record<PictureKind, { readonly type: string; readonly extension: string }>

export const manifestName = 'manifest.json'

/** The signature and first chunk of a PNG, which has its size. */
export const uploadHeadBytes = 33

/** Throws `not_found` for what is no index. */
export function imageName(index: number, kind: PictureKind): string {
  if (!Number.isSafeInteger(index) || index < 0)
    throw new AppError('not_found', `There is no picture ${index}.`)
  return `${index}.${pictureFiles[kind].extension}`
}

/** The day of an id of a job or upload. Throws `not_found` for what is no id. */
export function dayOf(id: string): string {
  if (!isJobIdShaped(id)) throw new AppError('not_found', 'This is not a valid id.', { param: 'id' })
  return jobIdTime(id).toISOString().slice(0, 10)
}

/** Documents of a catalogue run are in `<runs>/<yyyy-mm-dd>/<id>/<name>`, marks of open runs in `<open runs>/<id>`. */
export const runsFolder = 'catalogues'
export const openRunsFolder = 'catalogues-open'

/** Throws `not_found` for a name that no document of a run has. */
export function runFileName(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,60}(\.[a-z0-9]{1,10}){1,2}$/.test(name)) {
    throw new AppError('not_found', 'There is no such document.')
  }
  return name
}

/** The manifest exists, but cannot be read as one. */
export class DamagedManifest extends AppError {
  constructor(place: string, cause: unknown) {
    super('unavailable', 'The stored result of this job is damaged.', {
      detail: `The manifest ${place} is damaged.`,
      cause,
    })
  }
}
