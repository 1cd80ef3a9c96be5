import type { ImageFormat } from '../../jobs/fields.ts'
import { isJobIdShaped } from '../../jobs/job-id.ts'
import {
  dayOf,
  imageName,
  keptFolder,
  keptName,
  keptOwner,
  manifestName,
  openRunsFolder,
  type PictureKind,
  pictureFiles,
  runFileName,
  runsFolder,
} from '../../jobs/stored-names.ts'

/**
 * `results/<yyyy-mm-dd>/<id>/0.png, 1.png (or .jpg, .webp), ... manifest.json`, the day being that of the id. Ids sort by time, so a
 * listing gives the oldest job first. Uploads: `uploads/<yyyy-mm-dd>/<id>.png`. Kept for good:
 * `kept/<caller>/<id>-<index>.png` and `.json`. Only a well-formed id ever becomes part of a key.
 */

export const resultsFolder = 'results/'
export const uploadsFolder = 'uploads/'
export const runsPrefix = `${runsFolder}/`
export const openRunsPrefix = `${openRunsFolder}/`
export const keptRoot = `${keptFolder}/`
const uploadKeyShape = /^uploads\/(\d{4}-\d\d-\d\d)\/([^/]+)\.png$/
const extensions = Object.values(pictureFiles).map(({ extension }) => extension.replace('.', '\\.'))
const jobKey = new RegExp(
  `^results/(\\d{4}-\\d\\d-\\d\\d)/([^/]+)/(${manifestName.replace('.', '\\.')}|(?:0|[1-9]\\d*)\\.(?:${extensions.join('|')}))$`,
)

/** Throws `not_found` if it is not a job id. */
export function manifestKey(id: string): string {
  return folderOf(id) + manifestName
}

/** Throws `not_found` when it is no job id, or no index. */
export function imageKey(id: string, index: number, kind: PictureKind): string {
  return folderOf(id) + imageName(index, kind)
}

/** The job that a key belongs to; undefined for a foreign key. */
export function jobOfKey(key: string): { readonly id: string; readonly isManifest: boolean } | undefined {
  const [, day, id, name] = jobKey.exec(key) ?? []
  if (day === undefined || id === undefined || !isJobIdShaped(id) || dayOf(id) !== day) return undefined
  return { id, isManifest: name === manifestName }
}

/** Throws `not_found` if it is not an upload id. */
export function uploadKey(id: string): string {
  return `${uploadsFolder}${dayOf(id)}/${id}.png`
}

/** The upload that a key belongs to; undefined for a foreign key. */
export function uploadOfKey(key: string): string | undefined {
  const [, day, id] = uploadKeyShape.exec(key) ?? []
  return id !== undefined && isJobIdShaped(id) && dayOf(id) === day ? id : undefined
}

/** Throws `not_found` if it is not an id, or no name of a document. */
export function runKey(id: string, name: string): string {
  return `${runsPrefix}${dayOf(id)}/${id}/${runFileName(name)}`
}

/** Throws `not_found` if it is not an id. */
export function openRunKey(id: string): string {
  return `${openRunsPrefix}${dayOf(id) && id}`
}

/** Where the kept pictures of a caller are. Throws `not_found` if it is no name of one. */
export function keptPrefix(owner: string): string {
  return `${keptRoot}${keptOwner(owner)}/`
}

/** Throws `not_found` if it is not the id of a kept picture, or no name of a caller. */
export function keptKey(owner: string, id: string, kind: ImageFormat | 'document'): string {
  return keptPrefix(owner) + keptName(id, kind)
}

/** The run that a folder or the key of a mark or document belongs to; undefined for a foreign one. */
export function runOfKey(key: string): string | undefined {
  const [, id = ''] =
    /^catalogues\/\d{4}-\d\d-\d\d\/([^/]+)\//.exec(key) ?? /^catalogues-open\/([^/]+)$/.exec(key) ?? []
  return isJobIdShaped(id) ? id : undefined
}

/** The start of the day that a folder of results, uploads or runs is for; undefined for a foreign folder. */
export function startOfDayFolder(folder: string): Date | undefined {
  const day = /^(?:results|uploads|catalogues)\/(\d{4}-\d\d-\d\d)\/$/.exec(folder)?.[1]
  const start = new Date(`${day}T00:00:00.000Z`)
  return Number.isNaN(start.getTime()) ? undefined : start
}

function folderOf(id: string): string {
  return `${resultsFolder}${dayOf(id)}/${id}/`
}
