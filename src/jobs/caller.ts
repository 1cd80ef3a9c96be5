import { accountOfAddress } from './account.ts'
import { AppError } from './errors.ts'
import type { Held } from './ports.ts'

/** The client behind a request: its name, what it may do, and how much of it. */

/** `jobs`: submit, read and cancel jobs. `uploads`: send and read pictures to start from. */
const scopes = ['jobs', 'uploads'] as const
export type Scope = (typeof scopes)[number]
const allScopes: ReadonlySet<Scope> = new Set(scopes)

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
  /** Absent: it has no defaults, and its secret is of generation 1. */
  readonly webhook?: WebhookDefaults
}

/** What the keys file says of a caller's webhooks. */
export interface WebhookDefaults {
  /** Where the outcome of its jobs is sent unless a job names another receiver. */
  readonly url?: string
  /** The generation of its secret, from 1: the secret is derived from it. While it is rotated the one before counts too. */
  readonly secret: number
}

/** What a request brings to be recognised by. */
export interface Credentials {
  /** The client's address. */
  readonly address: string
  /** The `Authorization` header, unread. */
  readonly authorization?: string
  /** The cookie of the page's sign-in, unread. */
  readonly session?: string
}

/** A caller known by its address only. May do everything, within `limits`. */
export function anonymousCaller(address: string, limits: CallerLimits = {}, networkBits?: number): Caller {
  return { name: anonymous, account: accountOfAddress(address, networkBits), limits, scopes: allScopes }
}

/** Throws `forbidden` for a caller that may not do this. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.has(scope)) return
  throw new AppError('forbidden', `${caller.name} may not use ${scope}.`)
}
