import { accountOfAddress } from './account.ts'
import { AppError } from './errors.ts'

/** The client behind a request: its name, what it may do, and how much of it. */

/** `jobs`: submit, read and cancel jobs. `uploads`: send and read pictures to start from. */
const scopes = ['jobs', 'uploads'] as const
export type Scope = (typeof scopes)[number]
const allScopes: ReadonlySet<Scope> = new Set(scopes)

/** A token bucket: `burst` at once, refilled at `perMinute`. */
export interface RateLimit {
  readonly perMinute: number
  readonly burst: number
}

export interface CallerLimits {
  /** For jobs and uploads together. Absent: no limit. */
  readonly rate?: RateLimit
}

export interface Caller {
  /** `anonymous` if it has no name of its own. */
  readonly name: string
  /** The key under which its use is counted: its name or, for an anonymous caller, what stands for its address. */
  readonly account: string
  readonly limits: CallerLimits
  readonly scopes: ReadonlySet<Scope>
}

/** A caller known by its address only. May do everything, within `limits`. */
export function anonymousCaller(address: string, limits: CallerLimits = {}, networkBits?: number): Caller {
  return { name: 'anonymous', account: accountOfAddress(address, networkBits), limits, scopes: allScopes }
}

/** Throws `forbidden` for a caller that may not do this. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.has(scope)) return
  throw new AppError('forbidden', `${caller.name} may not use ${scope}.`)
}
