import { AppError } from '../errors.ts'
import type { ImageFormat } from '../fields.ts'
import type { StoredFile } from '../ports.ts'
import { type AnswerDeps, type ImageView, type JobView, viewEnded, viewEndedVerified } from './job-view.ts'

interface PictureOf {
  readonly image: ImageView
  readonly job: JobView
}

export interface PictureFile extends PictureOf {
  /** Rejects `expired` if the file was deleted. */
  open(): Promise<StoredFile>
  /** The picture as it was drawn, beside the finished one. */
  readonly isOriginal?: true
}

/** An address from which the client can fetch the picture for `seconds` from now. */
export interface PictureAddress extends PictureOf {
  readonly url: string
  readonly seconds: number
}

/** Maximum lifetime of a returned address; never longer than the picture is kept. */
const longestAddressSeconds = 300

/**
 * A picture of a finished job. Only files that the manifest names are served: those of an attempt that has not
 * committed do not exist for a client. Rejects like `viewJob`, `not_ready` until the job succeeded, `not_found` for
 * an index it does not have.
 */
export async function getPicture(
  deps: AnswerDeps,
  id: string,
  index: number,
  owner?: string,
): Promise<PictureFile> {
  return fileOf(deps, findPicture(await viewEnded(deps, id, owner), index), id, index)
}

/** The picture as it was drawn, beside a finished one. Rejects like `getPicture`, `not_found` where there is none. */
export async function getOriginal(
  deps: AnswerDeps,
  id: string,
  index: number,
  owner?: string,
): Promise<PictureFile> {
  const found = findPicture(await viewEnded(deps, id, owner), index)
  if (found.image.original === undefined) {
    const message = `Picture ${index} of job ${id} was delivered as it was drawn: it has no other original.`
    throw new AppError('not_found', message, { param: 'index' })
  }
  const open = async () => {
    const file = await deps.images.openImage(id, index, 'original')
    if (file !== undefined) return file
    throw new AppError('expired', `Picture ${index} of job ${id} was deleted.`, { param: 'id' })
  }
  return { ...found, open, isOriginal: true }
}

/** The file of a link. Rejects `not_found` for a link that was never issued, `expired`, `deleted`. */
export async function getLinked(deps: AnswerDeps, link: string): Promise<PictureFile> {
  const { id, index } = deps.ids.pictures.open(link)
  return fileOf(deps, findPicture(await viewEndedVerified(deps, id), index), id, index)
}

/** The picture of a link, as `locatePicture` returns it. Rejects `not_found` for a link that was never issued. */
export async function locateLinked(deps: AnswerDeps, link: string): Promise<PictureFile | PictureAddress> {
  const { id, index } = deps.ids.pictures.open(link)
  return locate(deps, findPicture(await viewEndedVerified(deps, id), index), id, index)
}

/**
 * The same for a client that can be redirected: an address if the store has one that clients can reach (the file
 * itself is not read then), else the file.
 */
export async function locatePicture(
  deps: AnswerDeps,
  id: string,
  index: number,
  owner?: string,
): Promise<PictureFile | PictureAddress> {
  return locate(deps, findPicture(await viewEnded(deps, id, owner), index), id, index)
}

async function locate(
  deps: AnswerDeps,
  picture: PictureOf,
  id: string,
  index: number,
): Promise<PictureFile | PictureAddress> {
  const rest = Math.floor((Date.parse(picture.job.expires_at) - deps.now().getTime()) / 1000)
  const seconds = Math.max(1, Math.min(longestAddressSeconds, rest))
  const url = await deps.images.addressOf(id, index, formatOf(picture), seconds)
  return url === undefined ? fileOf(deps, picture, id, index) : { ...picture, url, seconds }
}

function fileOf(deps: AnswerDeps, picture: PictureOf, id: string, index: number): PictureFile {
  const open = async () => {
    const file = await deps.images.openImage(id, index, formatOf(picture))
    if (file !== undefined) return file
    throw new AppError('expired', `Picture ${index} of job ${id} was deleted.`, { param: 'id' })
  }
  return { ...picture, open }
}

/** Throws `not_ready` until the job succeeded, `not_found` for an index it does not have. */
export function findPicture(job: JobView, index: number): PictureOf {
  const { id } = job
  if (job.status !== 'succeeded') {
    throw new AppError('not_ready', `Job ${id} has no pictures: its status is ${job.status}.`, {
      param: 'id',
    })
  }
  const image = job.images[index]
  if (image === undefined) {
    const message = `Job ${id} has ${job.images.length} picture(s), counted from 0; there is no picture ${index}.`
    throw new AppError('not_found', message, { param: 'index' })
  }
  return { job, image }
}

/** The format that the job delivers. A job that has a picture has a request. */
export function formatOf({ job }: PictureOf): ImageFormat {
  return job.request?.format ?? 'png'
}
