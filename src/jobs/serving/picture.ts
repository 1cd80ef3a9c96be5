import { AppError } from '../errors.ts'
import { type AnswerDeps, type ImageView, type JobView, viewJob } from './job-view.ts'

export interface Picture {
  readonly bytes: Uint8Array
  readonly image: ImageView
  readonly job: JobView
}

/** Where a client fetches a picture itself, and for how many seconds from now. */
export interface ImageAddress {
  readonly url: string
  readonly seconds: number
}

/** The longest time that an address handed out works; never longer than the picture is kept. */
const longestAddressSeconds = 3600

/**
 * A picture of a finished job. Only what the manifest names is ever answered: files of an attempt that has not
 * committed do not exist for a client. Rejects like `viewJob`, `not_ready` until the job succeeded, `not_found` for
 * an index it does not have.
 */
export async function getPicture(deps: AnswerDeps, id: string, index: number): Promise<Picture> {
  const { job, image } = await findPicture(deps, id, index)
  const bytes = await deps.images.getImage(id, index)
  if (bytes === undefined) {
    throw new AppError('expired', `Picture ${index} of job ${id} was deleted.`, { param: 'id' })
  }
  return { bytes, image, job }
}

/** Undefined where clients cannot reach the store. Rejects like `getPicture`, but that the file itself is not looked at. */
export async function getAddress(
  deps: AnswerDeps,
  id: string,
  index: number,
): Promise<ImageAddress | undefined> {
  if (deps.images.addressOf === undefined) return undefined
  const { job } = await findPicture(deps, id, index)
  const rest = Math.floor((Date.parse(job.expires_at) - deps.now().getTime()) / 1000)
  const seconds = Math.max(1, Math.min(longestAddressSeconds, rest))
  return { url: await deps.images.addressOf(id, index, seconds), seconds }
}

async function findPicture(deps: AnswerDeps, id: string, index: number): Promise<Omit<Picture, 'bytes'>> {
  const job = await viewJob(deps, id)
  if (job.status !== 'succeeded') {
    throw new AppError('not_ready', `Job ${id} has no pictures: its status is ${job.status}.`, {
      param: 'id',
    })
  }
  const image = job.images[index]
  if (image === undefined) {
    const message = `Job ${id} has ${job.images.length} picture(s), counted from 0; there is none with index ${index}.`
    throw new AppError('not_found', message, { param: 'index' })
  }
  return { job, image }
}
