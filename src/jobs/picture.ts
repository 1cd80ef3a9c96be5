import { type AnswerDeps, type ImageView, type JobView, viewJob } from './answer.ts'
import { AppError } from './errors.ts'

export interface Picture {
  readonly bytes: Uint8Array
  readonly image: ImageView
  readonly job: JobView
}

/**
 * A picture of a finished job. Only what the manifest names is ever answered: files of an attempt that has not
 * committed do not exist for a client. Rejects like `viewJob`, `not_ready` until the job succeeded, `not_found` for
 * an index it does not have.
 */
export async function getPicture(deps: AnswerDeps, id: string, index: number): Promise<Picture> {
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
  const bytes = await deps.images.getImage(id, index)
  if (bytes === undefined) {
    throw new AppError('expired', `Picture ${index} of job ${id} was deleted.`, { param: 'id' })
  }
  return { bytes, image, job }
}
