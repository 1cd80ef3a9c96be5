import { AppError, type Fault } from '../errors.ts'
import type { ResolvedRequest } from '../job.ts'
import { bestEffort } from '../log.ts'
import { findNamed } from '../offer.ts'
import { invalidRequest } from '../request/resolve.ts'
import { describeValue } from '../wording.ts'
import type { ImageView, JobView } from './job-view.ts'
import { findPicture } from './picture.ts'
import { checkRate } from './rate.ts'
import { type SubmitDeps, type SubmitOptions, submitJob } from './submit.ts'
import type { UploadDeps } from './upload.ts'

/**
 * Finishes a picture of a job again, as a job of its own that draws nothing. The picture as it was drawn becomes an upload of
 * the caller, so the new job needs nothing of the old one, which may be deleted or expire meanwhile.
 */

type Deps = SubmitDeps & Pick<UploadDeps, 'pictures' | 'uploadLimits'>

/** Fields of the body that are fields of a request, unchanged. */
const passed = ['finish', 'format', 'quality', 'priority', 'webhook'] as const

/**
 * @param job as its caller sees it
 * Rejects like `submitJob`, `not_ready` until the job succeeded, `not_found` for a picture that it does not have, `expired`.
 */
export async function refinishJob(
  deps: Deps,
  job: JobView,
  body: unknown,
  options: SubmitOptions,
): Promise<JobView> {
  const given = checkBody(body)
  const { index = 0 } = given
  const { image } = findPicture(job, index)
  const { request } = job
  if (request === undefined) throw new AppError('not_found', 'The job has no request.', { param: 'id' })
  const offered = findNamed(deps.offer().models, request.model)
  const asked = {
    ...Object.fromEntries(
      passed.map((name) => [name, given[name]]).filter(([, value]) => value !== undefined),
    ),
    prompt: request.prompt,
    seed: image.seed,
    strength: 0,
    // stands for the upload until there is one
    init_image: job.id,
    ...(offered === undefined ? {} : { model: offered.name }),
  }
  let stored: string | undefined
  try {
    return await submitJob(deps, asked, {
      ...options,
      sent: { job: job.id, body },
      prepare: async () => {
        stored = await copyOriginal(deps, options, { id: job.id, index, image, request })
        return { init_image: stored }
      },
    })
  } catch (thrown) {
    const unused = stored
    // an upload that nobody can name is only in the way; after a publish in doubt a job may need it
    const inDoubt = thrown instanceof AppError && thrown.code === 'unavailable'
    if (unused !== undefined && !inDoubt)
      await bestEffort(
        deps.log,
        'deleting what a job would have started from',
        deps.images.deleteUpload(unused),
      )
    throw thrown
  }
}

interface Source {
  readonly id: string
  readonly index: number
  readonly image: ImageView
  readonly request: ResolvedRequest
}

async function copyOriginal(deps: Deps, { caller }: SubmitOptions, source: Source): Promise<string> {
  const { ids, images, limiter, space, now } = deps
  const png = await originalOf(deps, source)
  await checkRate(limiter, caller, 'uploadBytes', png.byteLength)
  const id = ids.uploads.issue(now(), caller.name)
  try {
    await space.take('uploads', png.byteLength)
    await images.putUpload(id, png)
    return id
  } catch (thrown) {
    await limiter.take(caller, 'uploadBytes', -png.byteLength)
    throw thrown
  }
}

/** A picture without an original was delivered as it was drawn. */
async function originalOf(deps: Deps, { id, index, image, request }: Source): Promise<Uint8Array> {
  const kind = image.original === undefined ? request.format : 'original'
  const bytes = await deps.images.getImage(id, index, kind)
  if (bytes === undefined) {
    throw new AppError('expired', `Picture ${index} of job ${id} was deleted.`, { param: 'id' })
  }
  if (kind === 'original' || kind === 'png') return bytes
  return (await deps.pictures.normalise(bytes, deps.uploadLimits)).png
}

interface Given {
  readonly index?: number
  readonly [name: string]: unknown
}

function checkBody(body: unknown): Given {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    const example = '{"finish": {"preset": "amazon_main"}}'
    const message = `The body must be a JSON object such as ${example}, but was ${describeValue(body)}.`
    throw invalidRequest([{ param: 'body', message }])
  }
  const given: Given = { ...body }
  const faults: Fault[] = Object.keys(given)
    .filter((name) => name !== 'index' && !passed.some((each) => each === name))
    .slice(0, 10)
    .map((name) => {
      const shown = /^[\w-]{1,40}$/.test(name) ? name : describeValue(name)
      return {
        param: shown,
        message: `There is no field ${shown} here. The fields are index, ${passed.join(', ')}.`,
      }
    })
  if (given.index !== undefined && !(Number.isSafeInteger(given.index) && (given.index as number) >= 0)) {
    faults.push({
      param: 'index',
      message: `index must be a whole number from 0, but was ${describeValue(given.index)}.`,
    })
  }
  if (given.finish === undefined) {
    faults.push({
      param: 'finish',
      message: 'finish is missing: it must be an object such as {"preset": "amazon_main"}.',
    })
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return given
}
