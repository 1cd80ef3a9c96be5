import type { JobView } from '../jobs/answer.ts'
import type { ImageAddress, Picture } from '../jobs/picture.ts'
import type { ModelInfo } from '../jobs/ports.ts'
import type { RequestLimits } from '../jobs/request.ts'
import type { SubmitOptions } from '../jobs/submit.ts'

/** A finished picture with what a browser is told about it. */
export type ImageFile = Picture

/**
 * What the HTTP side (API and page) may ask of the service. `main/` puts it together from `jobs/` and adapters.
 *
 * Every method rejects with an `AppError` and with nothing else; `http/status.ts` says which HTTP status each
 * code has. An `invalid_request` carries `faults`: one sentence for each field at fault.
 */
export interface Services {
  /**
   * Checks and accepts a request (any value: it is validated here). When it resolves, the job is durable.
   * A repeated `idempotencyKey` answers the job of the first call. Rejects `invalid_request`, `queue_full`,
   * `unavailable`, `storage_full`, `rate_limited`.
   */
  submit(body: unknown, options?: SubmitOptions): Promise<JobView>
  /** Rejects `not_found` for an id never issued (of whatever shape), `expired` for one whose results are gone. */
  view(id: string): Promise<JobView>
  /** Picture `index` of a job; rejects like `view`, and `not_ready` until the job succeeded. */
  image(id: string, index: number): Promise<ImageFile>
  /** Where a client can fetch picture `index` itself for `seconds`; undefined when only `image` has it. Rejects like it. */
  imageAddress(id: string, index: number): Promise<ImageAddress | undefined>
  /** Stops a queued or running job; a job that is final stays as it is. Idempotent. Rejects like `view`. */
  cancel(id: string): Promise<JobView>
  /** The models that can be asked for, the default first, each with its defaults and lists. Never empty. */
  models(): readonly ModelInfo[]
  readonly limits: RequestLimits
  /** False while the service starts or drains: no new traffic should come here. */
  ready(): boolean
}
