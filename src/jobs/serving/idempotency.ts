import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import type { ResolvedRequest } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { AnswerDeps } from './job-view.ts'

/**
 * Idempotency keys (draft-ietf-httpapi-idempotency-key-header): a request that is repeated with its key gets its job.
 *
 * A key belongs to the caller that sent it. Job id and seed are derived from both with the installation's secret, so that
 * nobody can find another's job by a key, and any server finds the job again. What was sent is kept as a hash: it stays
 * the same when the offer changes, with which the decided request would change.
 */

/** Long enough that nobody who shares an address with a client guesses its keys; a UUID has 36. */
const shortestKey = 16
const longestKey = 255

/** Throws `invalid_request`. */
export function checkKey(key: string): void {
  const fits = key.length >= shortestKey && key.length <= longestKey
  if (fits && /^[\x21-\x7e]+$/.test(key)) return
  const rule = `${shortestKey} to ${longestKey} visible ASCII characters, such as a UUID`
  const given = fits ? 'had others' : `had ${key.length}`
  throw new AppError('invalid_request', `Idempotency-Key must have ${rule}, but ${given}.`, {
    param: 'Idempotency-Key',
  })
}

export function keyReused(key: string): AppError {
  const shown = key.length > 40 ? `${key.slice(0, 40)}...` : key
  const message = `Idempotency-Key ${shown} was already used for a different request.`
  return new AppError('idempotency_key_reused', message, { param: 'Idempotency-Key' })
}

/** A hash of a body as it was sent. The order of fields does not matter, as in JSON. */
export function hashOfSent(body: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(body)) ?? '')
    .digest('base64url')
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .map(([name, each]) => [name, sorted(each)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** What is known of a job that a key stands for. */
interface Earlier {
  readonly sent?: string
  readonly request: ResolvedRequest
}

/** Undefined if neither the status store nor the image store has the job, or neither answers. */
export async function findEarlier(
  { log, status, images }: Pick<AnswerDeps, 'log' | 'status' | 'images'>,
  id: string,
): Promise<Earlier | undefined> {
  const state = await bestEffort(log, 'looking for an earlier request', status.get(id))
  return state ?? (await bestEffort(log, 'looking for an earlier result', images.getManifest(id)))
}

/** Whether an earlier job is of the same request. One from before hashes were kept is compared as it was decided. */
export function isSameRequest(earlier: Earlier, sent: string, decided: () => ResolvedRequest): boolean {
  return earlier.sent === undefined ? isDeepStrictEqual(earlier.request, decided()) : earlier.sent === sent
}
