import { AppError } from '../../jobs/errors.ts'

/**
 * A failed request to the storage. The message names the operation and the storage's own code for the fault, never an
 * account key or an address: what the SDK threw is kept as `cause`.
 */
export class StorageFault extends AppError {
  /** As S3 calls it: `PutObject`. */
  readonly operation: string
  /** The storage's code (`SlowDown`), the network's (`ECONNREFUSED`), or `timeout`. */
  readonly reason: string
  /** The HTTP status, when there was an answer. */
  readonly status: number | undefined

  constructor(operation: string, thrown: unknown, context: FaultContext) {
    const reason = context.timedOut ? 'timeout' : reasonOf(thrown)
    const status = statusOf(thrown)
    const full = fullReasons.has(reason) || status === 507
    super(full ? 'storage_full' : 'unavailable', sentence(operation, reason, full, context), {
      cause: thrown,
    })
    this.operation = operation
    this.reason = reason
    this.status = status
  }
}

interface FaultContext {
  readonly bucket: string
  readonly timedOut: boolean
  readonly requestMs: number
}

/** No room: quotas of AWS-like stores, RGW, MinIO and its forks. The status 507 means the same. */
const fullReasons: ReadonlySet<string> = new Set([
  'QuotaExceeded',
  'InsufficientCapacity',
  'InsufficientStorage',
  'ServiceQuotaExceeded',
  'XMinioStorageFull',
  'XMinioAdminBucketQuotaExceeded',
  'ENOSPC',
  'EDQUOT',
])

function sentence(operation: string, reason: string, full: boolean, context: FaultContext): string {
  if (full) return `The storage has no room left (${operation}: ${reason}).`
  if (reason === 'NoSuchBucket') return `The bucket ${context.bucket} does not exist.`
  if (reason === 'timeout') {
    return `The storage did not answer ${operation} within ${context.requestMs / 1000} seconds.`
  }
  if (reason === 'AccessDenied') return `The storage does not permit ${operation}.`
  return `The storage failed at ${operation}: ${reason}.`
}

/** The code of a fault: S3's own (`NoSuchKey`), Node's (`ECONNREFUSED`), or `unreadable answer`. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'unknown fault'
  const code = 'code' in thrown ? thrown.code : undefined
  if (typeof code === 'string' && code !== '') return code
  if (thrown.name !== 'Error' && thrown.name !== 'SyntaxError') return thrown.name
  return statusOf(thrown) === undefined ? 'unknown fault' : 'unreadable answer'
}

function statusOf(thrown: unknown): number | undefined {
  const metadata = thrown instanceof Error && '$metadata' in thrown ? thrown.$metadata : undefined
  const known = typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata
  return known && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
}

/** The action's value, or undefined when the storage answers with one of these codes. */
export async function unless<T>(reasons: readonly string[], action: Promise<T>): Promise<T | undefined> {
  try {
    return await action
  } catch (thrown) {
    if (reasons.includes(reasonOf(thrown))) return undefined
    throw thrown
  }
}
