import { setTimeout as sleep } from 'node:timers/promises'
import { certificateFault } from '../../jobs/certificates.ts'
import { AppError, toAppError } from '../../jobs/errors.ts'
import { retry } from '../../jobs/retry.ts'
import type { Connection, ConnectionOptions } from './connection.ts'
import { reasonOf, StorageFault } from './faults.ts'
import { NoStorage } from './probe.ts'

/** Startup: waiting for storage that is not up yet, and a sentence for each wrong variable. */

const backoff = { firstMs: 250, longestMs: 3000 }

/** Rejects if no source has credentials; looks for at most `requestMs`. */
export async function credentialsFound(connection: Connection, options: ConnectionOptions): Promise<void> {
  const { requestMs = 10_000 } = options
  const timeout = sleep(requestMs, undefined, { ref: false }).then(() => {
    throw new Error(`no credentials were found within ${requestMs / 1000} seconds`)
  })
  try {
    await Promise.race([connection.client.config.credentials(), timeout])
  } catch (cause) {
    throw new AppError(
      'unavailable',
      'There are no credentials for the storage: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or give this machine a profile or role; AWS_PROFILE, if it is set, must name a profile with keys).',
      { param: 'AWS_ACCESS_KEY_ID', cause },
    )
  }
}

/** Retries the action while the storage does not answer, for about `startMs`; a permanent fault is reported at once. */
export async function untilUsable<T>(
  connection: Connection,
  options: ConnectionOptions & { readonly startMs?: number },
  action: () => Promise<T>,
): Promise<T> {
  const { log, startMs = 30_000 } = options
  const { where } = connection.place
  const end = performance.now() + startMs
  return retry(action, {
    ...backoff,
    onFailure(thrown, { failures, pauseMs }) {
      const fault = lastingFault(thrown, connection.place)
      if (fault !== undefined) throw fault
      if (performance.now() + pauseMs > end) {
        throw new AppError(
          'unavailable',
          `The storage at ${where} does not answer (${reasonIn(thrown)}, tried for ${Math.round(startMs / 1000)} seconds). Is it running, and is PACKSHOT_S3_ENDPOINT its address?`,
          { param: 'PACKSHOT_S3_ENDPOINT', cause: thrown },
        )
      }
      log.warn({ err: thrown, attempt: failures }, `waiting for the storage at ${where}: ${reasonIn(thrown)}`)
    },
  })
}

function reasonIn(thrown: unknown): string {
  return thrown instanceof StorageFault ? thrown.reason : reasonOf(thrown)
}

/** Transient network faults, including a name that DNS does not know yet. */
const passing =
  /^(timeout|unknown fault|E(CONN|TIMEDOUT|HOST|NET|PIPE|AI_)\w*|ENOTFOUND|SlowDown|RequestTimeout)$/
const otherRegion = [
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]

/** What to report about a fault that retrying does not fix; undefined for a temporary one. */
function lastingFault(thrown: unknown, place: Connection['place']): AppError | undefined {
  const { bucket, where } = place
  const say = (param: string, message: string) =>
    new AppError('unavailable', message, { param, cause: thrown })
  const noStorage = (detail: string) =>
    say(
      'PACKSHOT_S3_ENDPOINT',
      `The server at ${where} answers, but not like S3 storage (${detail}). Is PACKSHOT_S3_ENDPOINT its address?`,
    )
  if (thrown instanceof NoStorage) return noStorage(thrown.message)
  if (!(thrown instanceof StorageFault)) return toAppError(thrown)
  const { operation, reason, status } = thrown
  if (reason === 'InvalidAccessKeyId') {
    return say('AWS_ACCESS_KEY_ID', `The storage at ${where} does not know the key in AWS_ACCESS_KEY_ID.`)
  }
  if (reason === 'SignatureDoesNotMatch') {
    return say(
      'AWS_SECRET_ACCESS_KEY',
      `The storage at ${where} does not accept AWS_SECRET_ACCESS_KEY for the key in AWS_ACCESS_KEY_ID (or a proxy in front of it changes the host name).`,
    )
  }
  if (reason === 'InvalidToken' || reason === 'ExpiredToken') {
    return say('AWS_SESSION_TOKEN', `The storage at ${where} does not accept AWS_SESSION_TOKEN: ${reason}.`)
  }
  if (reason === 'NoSuchBucket') {
    return say(
      'PACKSHOT_STORAGE_URL',
      `The bucket ${bucket} of PACKSHOT_STORAGE_URL does not exist at ${where}. \`npm run storage -- setup\` creates it.`,
    )
  }
  if (reason === 'BucketAlreadyExists') {
    return say(
      'PACKSHOT_STORAGE_URL',
      `The bucket name ${bucket} belongs to another account. Choose another.`,
    )
  }
  if (reason === 'AccessDenied') {
    return say(
      'AWS_ACCESS_KEY_ID',
      `The key in AWS_ACCESS_KEY_ID may not ${rightFor(operation)} bucket ${bucket}.`,
    )
  }
  if (otherRegion.includes(reason)) {
    return say('AWS_REGION', `The bucket ${bucket} is not in the region that AWS_REGION names: ${reason}.`)
  }
  if (reason === 'EPROTO' || reason.startsWith('ERR_SSL')) {
    return say(
      'PACKSHOT_S3_ENDPOINT',
      `The server at ${where} does not speak TLS: try http:// in PACKSHOT_S3_ENDPOINT.`,
    )
  }
  const certificate = certificateFault(where, 'PACKSHOT_S3_ENDPOINT', reason)
  if (certificate !== undefined) return say('PACKSHOT_S3_ENDPOINT', certificate)
  if (passing.test(reason) || (status !== undefined && (status >= 500 || status === 429))) return undefined
  if (thrown.code === 'storage_full') return thrown
  // S3 storage gives its errors a code; anything else comes from some other server.
  if (status !== undefined && !isGeneric(reason)) {
    return say('PACKSHOT_STORAGE_URL', `The storage at ${where} refuses ${operation}: ${reason}.`)
  }
  return noStorage(status === undefined ? reason : `HTTP ${status} to ${operation}`)
}

/** Names that the SDK uses when the answer had no code of its own. */
function isGeneric(reason: string): boolean {
  return ['unreadable answer', 'UnknownError', 'Unknown', 'NotFound', 'Forbidden', 'BadRequest'].includes(
    reason,
  )
}

function rightFor(operation: string): string {
  if (operation === 'GetObject') return 'read, or list what is missing (s3:GetObject, s3:ListBucket), in'
  if (operation === 'PutObject') return 'write (s3:PutObject) into'
  if (operation === 'DeleteObject') return 'delete (s3:DeleteObject) from'
  return `do what is needed (${operation}) with`
}
