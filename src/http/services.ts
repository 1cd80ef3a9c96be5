import { toAppError } from '../jobs/errors.ts'
import type { Offer } from '../jobs/offer.ts'
import type { UploadLimits } from '../jobs/ports.ts'
import type { RequestLimits } from '../jobs/request/schema.ts'
import { type CancelDeps, cancelJob } from '../jobs/serving/cancel.ts'
import { type JobView, viewJob } from '../jobs/serving/job-view.ts'
import { withNotes } from '../jobs/serving/notes.ts'
import { getAddress, getPicture, type ImageAddress, type Picture } from '../jobs/serving/picture.ts'
import { type SubmitDeps, type SubmitOptions, submitJob } from '../jobs/serving/submit.ts'
import { acceptUpload, readUpload, type Upload, type UploadDeps } from '../jobs/serving/upload.ts'

/** A finished picture with what browsers need to know about it. */
export type ImageFile = Picture

/** What a worker has loaded. */
interface Holdings {
  /** Names, the most recently used first. */
  readonly models: readonly string[]
  readonly provider: string
  readonly profile: string
}

/**
 * What the HTTP side (API and page) may ask of the service.
 *
 * Every method rejects with an `AppError` and with nothing else; `http/status.ts` says which HTTP status each
 * code has. An `invalid_request` carries `faults`: one sentence for each invalid field.
 */
export interface Services {
  /**
   * Checks and accepts a request (any value: it is validated here). When it resolves, the job is durable.
   * A repeated `idempotencyKey` returns the job of the first call. Rejects `invalid_request`, `queue_full`,
   * `unavailable`, `storage_full`, `rate_limited`.
   */
  submit(body: unknown, options?: SubmitOptions): Promise<JobView>
  /** Rejects `not_found` for an id never issued (of whatever shape), `expired` for one whose results are gone. */
  view(id: string): Promise<JobView>
  /** Picture `index` of a job; rejects like `view`, and `not_ready` until the job succeeded. */
  image(id: string, index: number): Promise<ImageFile>
  /** A URL to fetch picture `index` from for `seconds`; undefined if only `image` has it. Rejects like `image`. */
  imageAddress(id: string, index: number): Promise<ImageAddress | undefined>
  /** Stops a queued or running job; a final job does not change. Idempotent. Rejects like `view`. */
  cancel(id: string): Promise<JobView>
  /**
   * Stores a picture that jobs may start from. Rejects `unsupported_media_type`, `body_too_large`, `invalid_upload`,
   * `rate_limited`, `unavailable`, `storage_full`.
   */
  upload(body: Uint8Array, options: { readonly type: string; readonly client?: string }): Promise<Upload>
  /** The PNG of an upload. Rejects `not_found` for an id never issued, `expired` for an expired one. */
  uploaded(id: string): Promise<{ png: Uint8Array; expires_at: string }>
  /** What can be requested now. */
  offer(): Offer
  readonly limits: RequestLimits
  readonly uploadLimits: UploadLimits
  /** What the worker beside this server has in memory. Optional: absent in a server without a worker. */
  holdings?(): Holdings | undefined
  /** False while the service starts or drains: it should get no new traffic. */
  ready(): boolean
}

/** The jobs core as the HTTP side sees it. */
export function createServices(
  deps: SubmitDeps & CancelDeps & UploadDeps & Pick<Services, 'holdings'>,
  ready: () => boolean,
): Services {
  const { holdings } = deps
  const asAppError = async <T>(action: Promise<T>): Promise<T> => {
    try {
      return await action
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  const noted = async (view: Promise<JobView>) => withNotes(await view, deps.offer())
  return {
    submit: (body, options) => asAppError(noted(submitJob(deps, body, options))),
    view: (id) => asAppError(noted(viewJob(deps, id))),
    image: (id, index) => asAppError(getPicture(deps, id, index)),
    imageAddress: (id, index) => asAppError(getAddress(deps, id, index)),
    cancel: (id) => asAppError(noted(cancelJob(deps, id))),
    upload: (body, options) => asAppError(acceptUpload(deps, body, options)),
    uploaded: (id) => asAppError(readUpload(deps, id)),
    offer: () => deps.offer(),
    limits: deps.limits,
    uploadLimits: deps.uploadLimits,
    ...(holdings === undefined ? {} : { holdings }),
    ready,
  }
}
