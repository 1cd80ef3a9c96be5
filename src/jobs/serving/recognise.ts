import {
  anonymous,
  anonymousCaller,
  type Caller,
  type CallerLimits,
  type Credentials,
  scopesOf,
} from '../caller.ts'
import { AppError } from '../errors.ts'
import type { FoundKey, Keyring, StoredCaller } from '../keys.ts'
import type { RateLimiter } from '../ports.ts'
import { type Sessions, sessionSeconds } from '../sessions.ts'
import { checkRate } from './rate.ts'

/** Who a request comes from, where callers have keys. */

export interface RecogniseDeps {
  /** The keys as they are now: a key that is disabled counts no longer. */
  readonly keys: () => Keyring
  readonly sessions: Sessions
  /** Limits of a caller without a key, and of one whose entry says nothing else. */
  readonly usual: CallerLimits
  readonly ipv6Network: number
  /** Whether a request without a key is served, within the limits of its address. */
  readonly strangers: boolean
  /** Counts failed attempts. */
  readonly requests: RateLimiter
  readonly now: () => Date
}

/** A signed-in browser: the value of its cookie, and how long it lasts. */
export interface SignedIn {
  readonly session: string
  readonly seconds: number
}

export interface Recogniser {
  /** Rejects `unauthorized`, and `rate_limited` for an address that fails too often. */
  caller(from: Credentials): Promise<Caller>
  /** A caller whose work goes on without a request; undefined if none of its keys counts any longer. */
  named(name: string, account: string): Caller | undefined
  /**
   * The caller as it is now, for what lasts longer than a request; undefined if its key, or for one known by its name
   * alone every key of it, counts no longer.
   */
  current(caller: Pick<Caller, 'name' | 'account' | 'keyId'>): Caller | undefined
  /** Exchanges a key for a session. Rejects like `caller`. */
  signIn(key: string, address: string): Promise<SignedIn>
}

export function createRecogniser(deps: RecogniseDeps): Recogniser {
  const { sessions, usual, ipv6Network, strangers, requests, now } = deps
  const stranger = (address: string) => anonymousCaller(address, usual, ipv6Network)

  /** A wrong key, an unknown one and one of another form are one fault: no answer helps to guess. */
  async function checked(key: string, address: string): Promise<FoundKey> {
    const found = deps.keys().find(key, now())
    if (found?.fault === undefined && found !== undefined) return found
    await checkRate(requests, stranger(address), 'requests')
    await checkRate(requests, stranger(address), 'failures')
    throw new AppError('unauthorized', found === undefined ? 'The key is not valid.' : gone(found))
  }

  function signedIn(session: string): FoundKey | undefined {
    const { name, key } = sessions.read(session, now()) ?? {}
    if (name === undefined || key === undefined) return undefined
    const found = deps.keys().recall(key, name, now())
    return found?.fault === undefined ? found : undefined
  }

  const named = (name: string, account: string) => {
    if (name === anonymous) return { ...stranger(''), account }
    const found = deps.keys().anyOf(name, now())
    return found === undefined ? undefined : callerOf(found, usual)
  }

  return {
    async caller({ address, key, session, open }) {
      if (open === true) return stranger(address)
      if (key !== undefined) return callerOf(await checked(key, address), usual)
      const found = session === undefined ? undefined : signedIn(session)
      if (found !== undefined) return callerOf(found, usual)
      if (strangers) return stranger(address)
      await checkRate(requests, stranger(address), 'requests')
      throw new AppError('unauthorized', 'This needs a key: send it as "authorization: Bearer pks_...".')
    },
    named,
    current({ name, account, keyId }) {
      if (keyId === undefined) return named(name, account)
      const found = deps.keys().recall(keyId, name, now())
      return found === undefined || found.fault !== undefined ? undefined : callerOf(found, usual)
    },
    async signIn(key, address) {
      const { caller, keyId } = await checked(key.trim(), address)
      return { session: sessions.issue(caller.name, keyId, now()), seconds: sessionSeconds }
    },
  }
}

/** Only to somebody who has the whole key. */
function gone({ keyId, fault }: FoundKey): string {
  return fault === 'expired' ? `The key ${keyId} has expired.` : `The key ${keyId} is disabled.`
}

function callerOf({ caller, keyId }: FoundKey, usual: CallerLimits): Caller {
  const { name, scopes, priorities, webhook } = caller
  return {
    name,
    // an account of a form that no address has
    account: `caller:${name}`,
    limits: limitsOf(caller, usual),
    scopes: scopesOf(scopes),
    keyId,
    ...(priorities === undefined ? {} : { priorities }),
    ...(webhook === undefined
      ? {}
      : { webhook: { secret: webhook.secret, ...(webhook.url === undefined ? {} : { url: webhook.url }) } }),
  }
}

/** Own limits in place of the usual ones of the same kind. */
function limitsOf({ limits = {} }: StoredCaller, usual: CallerLimits): CallerLimits {
  const { rate, work, unfinished, ...others } = usual
  const { jobs_per_minute: jobs, jobs_in_flight: inFlight, units_per_day: units } = limits
  const rates = {
    rate: jobs === undefined ? rate : bucket(jobs, 1),
    work: units === undefined ? work : bucket(units, 24 * 60),
  }
  const held = inFlight === undefined ? unfinished : inFlight === 0 ? undefined : { jobs: inFlight }
  return {
    ...others,
    ...(rates.rate === undefined ? {} : { rate: rates.rate }),
    ...(rates.work === undefined ? {} : { work: rates.work }),
    ...(held === undefined ? {} : { unfinished: held }),
  }
}

/** An amount per so many minutes; 0 is no limit. */
export function bucket(amount: number, minutes: number) {
  return amount === 0 ? undefined : { perMinute: amount / minutes, burst: amount }
}
