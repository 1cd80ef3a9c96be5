import { AppError } from './errors.ts'
import { type ImageFormat, imageFiles } from './fields.ts'
import { isJobIdShaped, jobIdTime } from './job-id.ts'
import type { KeptEntry } from './ports.ts'

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

/** Pictures that are kept for good are in `<kept>/<owner>/<id>.png (or .jpg, .webp)`, each with a document `<id>.json`. */
export const keptFolder = 'kept'

/** The kept copy of a picture: the id of its job, and its index. */
export function keptIdOf(job: string, index: number): string {
  return `${job}-${index}`
}

/** Whether the string has the form of the id of a kept picture. */
export function isKeptIdShaped(id: string): boolean {
  const [, job, index] = /^([0-9a-z]+)-(0|[1-9]\d{0,3})$/.exec(id) ?? []
  return job !== undefined && index !== undefined && isJobIdShaped(job)
}

/** Throws `not_found` for what is no name of a caller. */
export function keptOwner(owner: string): string {
  if (!/^[a-z0-9][a-z0-9_-]{0,39}$/.test(owner))
    throw new AppError('not_found', 'There is no caller of this name.')
  return owner
}

/** The file of a kept picture, or its document. Throws `not_found` for what is no id. */
export function keptName(id: string, kind: ImageFormat | 'document'): string {
  if (!isKeptIdShaped(id))
    throw new AppError('not_found', 'There is no kept picture with this id.', { param: 'id' })
  return `${id}.${kind === 'document' ? 'json' : imageFiles[kind].extension}`
}

/** The kept pictures that files belong to, in the order of the files; foreign files are passed over. */
export function keptEntries(files: readonly { readonly name: string; readonly at: Date }[]): KeptEntry[] {
  const found = new Map<string, KeptEntry>()
  for (const { name, at } of files) {
    const [, id = '', extension] = /^([^.]+)\.(json|png|jpg|webp)$/.exec(name) ?? []
    if (!isKeptIdShaped(id)) continue
    const before = found.get(id)
    const newest = before !== undefined && before.at > at ? before.at : at
    found.set(id, { id, whole: extension === 'json' || before?.whole === true, at: newest })
  }
  return [...found.values()]
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
