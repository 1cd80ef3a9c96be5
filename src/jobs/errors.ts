/**
 * The one table of errors. A `code` is the public name of a fault: it appears in API answers, events and
 * manifests, and is documented in docs/errors.md (a test derives that page from this table and from `http/status.ts`,
 * which maps codes to HTTP statuses).
 */

interface ErrorKind {
  /** What it means, in one sentence, for docs/errors.md. */
  readonly meaning: string
  /** What the caller can do about it. */
  readonly remedy: string
  /**
   * How many attempts a job gets before it fails with this code. 0: only requests fail with it, never jobs.
   * 'until it works': an attempt that fails with it does not count.
   */
  readonly attempts: 0 | 1 | 2 | 3 | 'until it works'
}

export const errorTable = {
  invalid_request: {
    meaning: 'A field of the request is missing, has the wrong type, is unknown, or is outside its limits.',
    remedy: 'Correct the field named in `param`; the message gives the limit and what was sent.',
    attempts: 0,
  },
  invalid_json: {
    meaning: 'The body is not JSON in UTF-8, or has a key twice.',
    remedy: 'Send a JSON object in UTF-8 with `content-type: application/json`.',
    attempts: 0,
  },
  unsupported_media_type: {
    meaning: 'This call does not accept the content type or the encoding of the body.',
    remedy:
      'Send `content-type: application/json` (the page sends a form), not compressed; an upload is image/png, image/jpeg or image/webp.',
    attempts: 0,
  },
  body_too_large: {
    meaning:
      'The body is larger than 64 KiB or, for an upload or a list, larger than this installation accepts.',
    remedy: 'Shorten it (a prompt has at most 2 000 characters), or send a smaller picture.',
    attempts: 0,
  },
  invalid_upload: {
    meaning:
      'The upload is not a complete PNG, JPEG or WebP picture, has too many pixels, or has no product that can be kept.',
    remedy:
      'Send one still picture within the limits that the message gives; for `keep`, do what the message says.',
    attempts: 1,
  },
  upload_gone: {
    meaning: 'An uploaded picture that the job starts from was deleted before the job ran.',
    remedy: 'Upload it again and submit the job again.',
    attempts: 1,
  },
  cross_site: {
    meaning: 'A page of another site sent this request through a browser.',
    remedy:
      'Send it from the page itself. If it was, the proxy in front does not pass on its own name: see "Behind a proxy" in docs/operating.md.',
    attempts: 0,
  },
  wrong_host: {
    meaning: "The request is for a host name that is not this server's.",
    remedy:
      'Use `localhost`, an address, or a name in `PACKSHOT_ALLOWED_HOSTS`; behind a proxy see "Behind a proxy" in docs/operating.md.',
    attempts: 0,
  },
  too_slow: {
    meaning: 'The request was not received in time: nothing came for a while, or too little per second.',
    remedy: 'Send it again, over a faster connection if you can.',
    attempts: 0,
  },
  unauthorized: {
    meaning: 'The call needs a key and has none, or one that is not valid, has expired or is disabled.',
    remedy:
      'Send the key that the operator gave you as `authorization: Bearer pks_...`; on the page, sign in again.',
    attempts: 0,
  },
  forbidden: {
    meaning: 'The caller is known but may not make this call.',
    remedy: 'Ask the operator for the scope or the priority that the message names.',
    attempts: 0,
  },
  not_found: {
    meaning: 'There is no such page, job, upload or picture.',
    remedy: 'Check the address. Job ids come from `POST /v1/jobs`, upload ids from `POST /v1/uploads`.',
    attempts: 0,
  },
  method_not_allowed: {
    meaning: 'The address exists but does not support this method.',
    remedy: 'Use a method listed in the `allow` header.',
    attempts: 0,
  },
  expired: {
    meaning: 'The job or upload is older than the time for which results are kept.',
    remedy: 'Submit the job or upload the picture again; the same seed and settings give the same picture.',
    attempts: 0,
  },
  deleted: {
    meaning: 'The job or upload was deleted on request.',
    remedy: 'Submit the job or upload the picture again.',
    attempts: 0,
  },
  not_ready: {
    meaning: 'A picture was requested, or a webhook to be sent again, before the job finished.',
    remedy: 'Poll the job until its status is `succeeded`; for a run see the message.',
    attempts: 0,
  },
  canceled: {
    meaning:
      'The job was canceled before its pictures were made; only calls that wait for pictures are answered so.',
    remedy: 'Submit it again if the pictures are still wanted.',
    attempts: 0,
  },
  still_running: {
    meaning:
      'The job was not finished when a call that waits for its pictures had to be answered. The job continues.',
    remedy:
      'Read the job that the header `X-Job-Id` names (`GET /v1/jobs/ID`) until its status is `succeeded`; do not submit it again.',
    attempts: 0,
  },
  idempotency_key_reused: {
    meaning: 'The `Idempotency-Key` was already used for a different request.',
    remedy: 'Send each request with a key of its own, and the same key only to repeat a request.',
    attempts: 0,
  },
  rate_limited: {
    meaning:
      'This caller has reached one of its limits, which the message names: requests, work, unfinished jobs, or stored bytes.',
    remedy: 'Try again after the seconds given in `Retry-After`.',
    attempts: 0,
  },
  kept_full: {
    meaning: 'This caller keeps as many pictures for good as one caller may.',
    remedy:
      'Delete some with `DELETE /v1/kept/ID`, or ask the operator to raise `PACKSHOT_KEPT_PICTURES`; waiting does not help.',
    attempts: 0,
  },
  queue_full: {
    meaning: 'The queue holds the maximum number of waiting jobs, or of waiting webhooks.',
    remedy: 'Try again after the seconds given in `Retry-After`, or add workers.',
    attempts: 0,
  },
  unavailable: {
    meaning:
      'A service that Packshot depends on does not answer, or a worker lacks a file of the job. A request that gets this answer may or may not have been accepted.',
    remedy:
      'Try again after the seconds given in `Retry-After`, with the same `Idempotency-Key` if you sent one.',
    attempts: 3,
  },
  storage_full: {
    meaning: 'The disk or the storage is full, or has reached a bound that the operator set.',
    remedy: 'Free some space, or raise the bound that the message names.',
    attempts: 'until it works',
  },
  model_invalid: {
    meaning: 'A model file is missing, damaged, or not of a supported kind.',
    remedy: 'The message names the file and the fault; restore or replace the file.',
    attempts: 1,
  },
  out_of_memory: {
    meaning: 'The picture needs more memory than the worker has.',
    remedy: 'Request a smaller size, or give the worker more memory.',
    attempts: 2,
  },
  too_large: {
    meaning: 'The picture would need more memory than a worker may use; nothing was computed.',
    remedy:
      'Request a smaller size, a shorter prompt or fewer LoRAs, or give the workers more memory (`PACKSHOT_MODEL_MEMORY_MB`).',
    attempts: 1,
  },
  generation_failed: {
    meaning: 'The engine failed on every attempt at this job.',
    remedy: 'Try other settings; the worker logs the cause with the job id.',
    attempts: 3,
  },
  finish_failed: {
    meaning:
      'The pictures cannot be finished as asked: no product was found in any, or a file cannot be as small.',
    remedy: 'Change what the message names; `finish.background` `as_made` needs no product.',
    attempts: 1,
  },
  timeout: {
    meaning:
      'The job takes longer than one attempt may (it is not retried), or the engine made no progress for too long.',
    remedy: 'Request fewer steps, fewer pictures or a smaller size.',
    attempts: 3,
  },
  internal: {
    meaning: 'Packshot itself failed.',
    remedy: 'Report it with the log lines that have the request id.',
    attempts: 3,
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

/** One field of a request (or one environment variable) that cannot be used, and why. */
export interface Fault {
  readonly param: string
  /** The row of a list that has it, counted from 1 without the header. */
  readonly row?: number
  /** A whole sentence: the field, the limit and what was given. */
  readonly message: string
}

/** Takes note of a fault: one field of a request, and the sentence about it. */
export type Blame = (param: string, message: string) => void

export interface ErrorDetails {
  /** The request field or environment variable at fault. */
  readonly param?: string
  /** For `queue_full` and `unavailable`: when it makes sense to retry. */
  readonly retryAfterSeconds?: number
  /** How many attempts a job gets that fails with this error, where that differs from its code's. */
  readonly attempts?: number
  /** Every fault of a request, so that a form can show each beside its field. */
  readonly faults?: readonly Fault[]
  /** How many faults there are, where `faults` has only the first of them. */
  readonly faultCount?: number
  readonly cause?: unknown
  /** For the operator alone, in place of the message: with paths and names of tensors. */
  readonly detail?: string
}

/** An error that may be shown to a user. Everything else is normalised by `toAppError`. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly faults: readonly Fault[]
  readonly faultCount: number
  readonly detail: string | undefined
  readonly #attempts: number | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.param = details.param
    this.retryAfterSeconds = details.retryAfterSeconds
    this.faults = details.faults ?? []
    this.faultCount = details.faultCount ?? this.faults.length
    this.detail = details.detail
    this.#attempts = details.attempts
  }

  /** How many attempts a job gets that fails with this error, see `ErrorKind.attempts`; Infinity if none counts. */
  get attempts(): number {
    if (this.#attempts !== undefined) return this.#attempts
    const { attempts } = errorTable[this.code]
    return attempts === 'until it works' ? Number.POSITIVE_INFINITY : attempts
  }
}

/** Faults that are not the client's: what they name is the operator's. */
const operatorsCodes: readonly ErrorCode[] = [
  'unavailable',
  'storage_full',
  'model_invalid',
  'out_of_memory',
  'generation_failed',
  'timeout',
  'internal',
]

/** Two names and more after slashes; of an address it would be the path only. */
const absolutePath = /(?<![\w:/.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:;,'"()]+){2,}[\\/]?/gu

/** The one place where an error becomes text for clients: in a job, an answer or a page. No path of this machine is in it. */
export function clientMessage({ code, message }: Pick<AppError, 'code' | 'message'>): string {
  return operatorsCodes.includes(code)
    ? message.replaceAll(absolutePath, '(a file of this installation)')
    : message
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

/** What is thrown need not be an Error. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
