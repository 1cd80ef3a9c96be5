/**
 * The one table of errors. A `code` is the public name of a fault: it appears in API answers, events and
 * manifests, and is documented in docs/errors.md (a test holds the two together). How a code maps to an HTTP
 * status is http's business (`http/status.ts`).
 */

interface ErrorKind {
  /** What it means, in one sentence, for docs/errors.md. */
  readonly meaning: string
  /** What the caller can do about it. */
  readonly remedy: string
  /** Whether another attempt at the same task may succeed. */
  readonly retryable: boolean
}

export const errorTable = {
  invalid_request: {
    meaning: 'A field of the request is missing, of the wrong type, unknown or outside its limits.',
    remedy: 'Correct the field named in `param`; the message gives the limit and what was sent.',
    retryable: false,
  },
  invalid_json: {
    meaning: 'The body is not JSON.',
    remedy: 'Send a JSON object with `content-type: application/json`.',
    retryable: false,
  },
  unsupported_media_type: {
    meaning: 'The body has a content type that this call does not read.',
    remedy:
      'Send `content-type: application/json` (the page sends a form); an upload is image/png, image/jpeg or image/webp.',
    retryable: false,
  },
  body_too_large: {
    meaning: 'The body is larger than 64 KiB or, for an upload, than this installation takes.',
    remedy: 'Shorten it (a prompt has at most 2 000 characters), or send a smaller picture.',
    retryable: false,
  },
  invalid_upload: {
    meaning: 'What was uploaded is not a whole PNG, JPEG or WebP picture, or has too many pixels.',
    remedy: 'Send one still picture within the limits that the message gives.',
    retryable: false,
  },
  upload_gone: {
    meaning: 'An uploaded picture that the job starts from was deleted before the job was made.',
    remedy: 'Upload it again and submit the job again.',
    retryable: false,
  },
  cross_site: {
    meaning: 'A form of the page was sent by a page of another site.',
    remedy: 'Send it from the page itself; other programs use `POST /v1/jobs`.',
    retryable: false,
  },
  not_found: {
    meaning: 'There is no such page, job, upload or picture.',
    remedy:
      'Check the address; a job id is the one that `POST /v1/jobs` answered, an upload id that of `POST /v1/uploads`.',
    retryable: false,
  },
  method_not_allowed: {
    meaning: 'The address exists, but not with this method.',
    remedy: 'Use a method of the `allow` header.',
    retryable: false,
  },
  expired: {
    meaning: 'The job or upload was known, but is older than the time that results are kept.',
    remedy: 'Submit the job again, or upload again: the same seed and settings give the same picture.',
    retryable: false,
  },
  not_ready: {
    meaning: 'The picture was asked for before the job finished.',
    remedy: 'Ask for the job first and wait until its status is `succeeded`.',
    retryable: false,
  },
  rate_limited: {
    meaning:
      'This client has sent more jobs and uploads in a minute than this installation allows one client.',
    remedy: 'Try again after the seconds given in `Retry-After`.',
    retryable: true,
  },
  queue_full: {
    meaning: 'As many jobs are waiting as this installation allows.',
    remedy: 'Try again after the seconds given in `Retry-After`, or add workers.',
    retryable: true,
  },
  unavailable: {
    meaning:
      'A part that the service needs does not answer right now; nothing is known to have been accepted.',
    remedy:
      'Try again after the seconds given in `Retry-After`, with the same `Idempotency-Key` if there was one.',
    retryable: true,
  },
  storage_full: {
    meaning: 'The disk or the storage has no room left.',
    remedy: 'Free some space; the job is tried again by itself.',
    retryable: true,
  },
  model_invalid: {
    meaning: 'A model file is missing, damaged, or not of a supported kind.',
    remedy: 'The message names the file and the fault; restore or replace the file.',
    retryable: false,
  },
  out_of_memory: {
    meaning: 'The picture needs more memory than the worker has.',
    remedy: 'Ask for a smaller size or fewer pictures, or use a bigger worker.',
    retryable: true,
  },
  generation_failed: {
    meaning: 'The engine failed on this job more often than it is tried.',
    remedy: 'Try other settings; the worker log has the cause under the job id.',
    retryable: true,
  },
  timeout: {
    meaning: 'An attempt took longer than an attempt may take.',
    remedy: 'Ask for fewer steps or a smaller size.',
    retryable: true,
  },
  internal: {
    meaning: 'A fault of the program itself.',
    remedy: 'Report it with the log lines of the request id.',
    retryable: true,
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

/** One field of a request (or one environment variable) that cannot be used, and why. */
export interface Fault {
  readonly param: string
  /** A whole sentence: the field, the limit and what was given. */
  readonly message: string
}

export interface ErrorDetails {
  /** The request field or environment variable at fault. */
  readonly param?: string
  /** For `queue_full` and `unavailable`: when it makes sense to ask again. */
  readonly retryAfterSeconds?: number
  /** Every fault of a request, so that a form can show each beside its field. */
  readonly faults?: readonly Fault[]
  readonly cause?: unknown
}

/** An error that may be shown to a user. Everything else is normalised by `toAppError`. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly faults: readonly Fault[]

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.param = details.param
    this.retryAfterSeconds = details.retryAfterSeconds
    this.faults = details.faults ?? []
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable
  }
}

/** The one place where an unknown thrown value becomes an `AppError`; the original stays as `cause`. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new AppError('storage_full', 'There is no space left on the disk.', { cause: thrown })
  }
  return new AppError('internal', 'An unexpected fault occurred.', { cause: thrown })
}
