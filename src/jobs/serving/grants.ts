import { type Caller, requireScope } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { JobIds } from '../job-id.ts'
import { checkRate } from './rate.ts'
import type { Recogniser } from './recognise.ts'
import { acceptUpload, type UploadDeps } from './upload.ts'

/**
 * Grants: texts for addresses that clients of other APIs use without their key. Each allows one thing, for one job or
 * upload of the caller that asked for it, as long as the key that it asked with counts.
 */

export interface GrantDeps {
  readonly ids: JobIds
  /** See `Recogniser`. Absent: callers have no keys. */
  readonly current?: Recogniser['current']
}

/** How long a granted upload may begin. */
const uploadSeconds = 900

/** Allows to follow a job. The id itself would allow to cancel it. */
export function grantFollowing({ ids }: GrantDeps, id: string, { name, keyId }: Caller): string {
  return ids.grants.seal(JSON.stringify(['follow', id, name, keyId]))
}

/**
 * The job of a grant, and its owner as a caller with the rights and limits of the client that has the grant. Throws
 * `not_found`.
 */
export function openFollowing(
  deps: GrantDeps,
  grant: string,
  client: Caller,
): { readonly id: string; readonly caller: Caller } {
  const [kind, id, name, keyId] = opened(deps.ids, grant)
  if (kind !== 'follow') throw unknown()
  const caller = { ...client, ...giverOf(deps, { name, account: client.account, keyId }) }
  return { id: String(id), caller }
}

/** An upload whose bytes come later. */
export interface GrantedUpload {
  /** The id that the upload will have. */
  readonly id: string
  readonly grant: string
}

/**
 * Allows to send one picture in the next 15 minutes. It counts as an upload now; its bytes count when they come. Rejects
 * `forbidden`, `rate_limited`.
 */
export async function grantUpload(deps: UploadDeps, caller: Caller): Promise<GrantedUpload> {
  const { name, account, limits, keyId } = caller
  requireScope(caller, 'uploads')
  await checkRate(deps.limiter, caller)
  const now = deps.now()
  const id = deps.ids.uploads.issue(now, name)
  const { perMinute = 0, burst = 0 } = limits.uploadBytes ?? {}
  const until = now.getTime() + uploadSeconds * 1000
  return {
    id,
    grant: deps.ids.grants.seal(
      JSON.stringify(['upload', id, name, account, until, perMinute, burst, keyId]),
    ),
  }
}

/** A picture for a grant, from whoever has it. */
export interface SentForGrant extends GrantedUpload {
  readonly type: string
  readonly client: Caller
}

/** Throws `not_found` for what was not granted, or not for now. */
export function checkUploadGrant(deps: UploadDeps & GrantDeps, { id: sent, grant }: GrantedUpload) {
  const [kind, id, name, account, until, perMinute, burst, keyId] = opened(deps.ids, grant)
  if (kind !== 'upload' || id !== sent || Number(until) < deps.now().getTime()) throw unknown()
  const bytes = { perMinute: Number(perMinute), burst: Number(burst) }
  const limits = bytes.burst === 0 ? {} : { uploadBytes: bytes }
  return { ...giverOf(deps, { name, account, keyId }), limits }
}

/** Stores the picture of a grant; one that is there already stays. Rejects like `checkUploadGrant` and `acceptUpload`. */
export async function acceptGranted(
  deps: UploadDeps & GrantDeps,
  sent: SentForGrant,
  body: Uint8Array,
): Promise<void> {
  const { id, type, client } = sent
  const caller = { ...client, ...checkUploadGrant(deps, sent) }
  if ((await deps.images.getUploadHead(id)) !== undefined) return
  await acceptUpload(deps, body, { type, caller, id })
}

/** Whose grant it is. One of a release that sealed no key is known by the caller's name alone. Throws `not_found`. */
function giverOf(
  { current }: GrantDeps,
  sealed: { readonly name: unknown; readonly account: unknown; readonly keyId: unknown },
): Pick<Caller, 'name' | 'account' | 'keyId'> {
  const giver = {
    name: String(sealed.name),
    account: String(sealed.account),
    ...(typeof sealed.keyId === 'string' ? { keyId: sealed.keyId } : {}),
  }
  if (current !== undefined && current(giver) === undefined) throw unknown()
  return giver
}

function opened(ids: JobIds, grant: string): readonly unknown[] {
  const text = ids.grants.open(grant)
  if (text === undefined) throw unknown()
  return JSON.parse(text) as unknown[]
}

function unknown(): AppError {
  return new AppError('not_found', 'There is nothing at this address, or not any more.')
}
