import type { AppError, ErrorCode } from '../jobs/errors.ts'

/** Includes codes that only a job's own `error` has: for a request each of those is a server error. */
const statuses: Record<ErrorCode, number> = {
  invalid_request: 400,
  invalid_json: 400,
  unauthorized: 401,
  cross_site: 403,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  too_slow: 408,
  not_ready: 409,
  kept_full: 409,
  canceled: 409,
  expired: 410,
  deleted: 410,
  body_too_large: 413,
  unsupported_media_type: 415,
  wrong_host: 421,
  invalid_upload: 422,
  idempotency_key_reused: 422,
  rate_limited: 429,
  upload_gone: 500,
  model_invalid: 500,
  out_of_memory: 500,
  too_large: 500,
  finish_failed: 500,
  generation_failed: 500,
  timeout: 500,
  internal: 500,
  queue_full: 503,
  unavailable: 503,
  still_running: 504,
  storage_full: 507,
}

export function httpStatus(error: AppError): number {
  return statuses[error.code]
}

/** Default for Retry-After; an error with a better estimate carries its own. */
const defaultRetrySeconds = 5

/** When to retry: every 503 says so. Undefined if retrying does not help. */
export function retryAfterSeconds(error: AppError): number | undefined {
  return error.retryAfterSeconds ?? (httpStatus(error) === 503 ? defaultRetrySeconds : undefined)
}
