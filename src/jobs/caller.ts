import { accountOfAddress } from './account.ts'
import { AppError } from './errors.ts'
import type { Priority } from './fields.ts'
import type { Held } from './ports.ts'

/** The client behind a request: its name, what it may do, and how much of it. */

/**
 * What a caller may do.
 *
 * - `jobs:read`: read jobs and their pictures.
 * - `jobs:write`: submit jobs, and read them: `scopesOf` adds `jobs:read`.
 * - `jobs:cancel`: cancel and delete jobs.
 * - `uploads`: send, read and delete pictures to start from.
 * - `catalogues`: catalogue runs.
 * - `webhooks`: name a receiver, read its deliveries and send them again.
 */
export const scopes = ['jobs:read', 'jobs:write', 'jobs:cancel', 'uploads', 'catalogues', 'webhooks'] as const
export type Scope = (typeof scopes)[number]
const allScopes: ReadonlySet<Scope> = new Set(scopes)

/** The scopes that a list of them grants. Absent: all. */
export function scopesOf(list?: readonly Scope[]): ReadonlySet<Scope> {
  if (list === undefined) return allScopes
  return new Set(list.includes('jobs:write') ? [...list, 'jobs:read'] : list)
}

/** A bucket: `burst` at once, refilled at `perMinute`; in requests, units of work or bytes. */
export interface RateLimit {
  readonly perMinute: number
  readonly burst: number
}

/** What is counted in buckets, each of its own. */
interface Rates {
  /** Jobs and uploads, refused ones included. */
  readonly rate?: RateLimit
  /** Requests of every kind. */
  readonly requests?: RateLimit
  /** Units of work (see `work.ts`). */
  readonly work?: RateLimit
  /** Bytes of stored uploads. */
  readonly uploadBytes?: RateLimit
  /** Bytes of pictures: the most that they could have. */
  readonly resultBytes?: RateLimit
  /** Jobs in place of `unfinished`, while the store that counts those is unavailable. */
  readonly held?: RateLimit
  /** Requests with a key that is not valid, by address. */
  readonly failures?: RateLimit
}
export type RateName = keyof Rates

/** An absent one is no limit. */
export interface CallerLimits extends Rates {
  /** Jobs that wait or run at the same time, and their work. */
  readonly unfinished?: Partial<Held>
}

/** The name of callers without a key, and the owner of what was made before there were keys. */
export const anonymous = 'anonymous'

export interface Caller {
  /** `anonymous` if it has no key. Jobs and uploads belong to this name: it is part of the signature of their ids. */
  readonly name: string
  /** The key under which its use is counted: its name or, for an anonymous caller, what stands for its address. */
  readonly account: string
  readonly limits: CallerLimits
  readonly scopes: ReadonlySet<Scope>
  /** The id of the key that it was recognised by, which is not secret. Absent: recognised by its address only. */
  readonly keyId?: string
  /** Absent: all. */
  readonly priorities?: readonly Priority[]
  /** Absent: it has no defaults, and its secret is of generation 1. */
  readonly webhook?: WebhookDefaults
}

/** What the keys file says of a caller's webhooks. */
interface WebhookDefaults {
  /** Where the outcome of its jobs is sent unless a job names another receiver. */
  readonly url?: string
  /** The generation of its secret, from 1: the secret is derived from it. While it is rotated the one before counts too. */
  readonly secret: number
}

/** What a request brings to be recognised by. */
export interface Credentials {
  /** The client's address. */
  readonly address: string
  /** What it sent as its key, whatever that is. */
  readonly key?: string
  /** The cookie of the page's sign-in, unread. */
  readonly session?: string
  /** What it asks for needs no key: nobody is refused, and the caller is `anonymous`. */
  readonly open?: boolean
}

/** A caller known by its address only. May do everything, within `limits`. */
export function anonymousCaller(address: string, limits: CallerLimits = {}, networkBits?: number): Caller {
  return { name: anonymous, account: accountOfAddress(address, networkBits), limits, scopes: allScopes }
}

/** A caller as the fields of a log line: nothing in them is secret. */
export function whose({ name, keyId }: Caller): { caller?: string; key?: string } {
  return keyId === undefined ? {} : { caller: name, key: keyId }
}

/** Throws `forbidden` with the scope for a caller that may not do this. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.has(scope)) return
  throw new AppError('forbidden', `${caller.name} may not do this: its keys lack the scope ${scope}.`)
}

/** Throws `forbidden` with the class for a caller whose jobs may not have it. */
export function requirePriority({ name, priorities }: Caller, priority: Priority): void {
  if (priorities === undefined || priorities.includes(priority)) return
  const message = `${name} may not send jobs of the priority ${priority}, only ${priorities.join(' and ')}.`
  throw new AppError('forbidden', message, { param: 'priority' })
}
