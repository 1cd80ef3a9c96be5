import type { Caller } from '../caller.ts'
import { bestEffort, type Log } from '../log.ts'
import type { RateLimiter } from '../ports.ts'
import { secondsOf } from './rate.ts'

/** A limit of a caller that answers tell: `quota` units in `window` seconds, of which `left` can be used now. */
export interface Policy {
  readonly name: string
  /** Absent: requests. */
  readonly unit?: string
  readonly quota: number
  readonly window: number
  readonly left: number
  /** Seconds until there is more. */
  readonly seconds: number
}

const told = [
  { rate: 'rate', name: 'jobs' },
  { rate: 'work', name: 'work', unit: 'units' },
] as const

/** The limits of a caller that its jobs count against, with what is left. Never rejects: it is advice. */
export async function policiesOf(
  { limiter, log }: { readonly limiter: RateLimiter; readonly log: Log },
  caller: Caller,
): Promise<Policy[]> {
  const policies: Policy[] = []
  for (const { rate, ...names } of told) {
    const limit = caller.limits[rate]
    if (limit === undefined) continue
    const room = await bestEffort(log, 'reading what a caller has left', limiter.room(caller, rate), 'debug')
    if (room === undefined) continue
    const { left, seconds } = room
    policies.push({
      ...names,
      quota: limit.burst,
      window: secondsOf(limit),
      left: Math.floor(left + 0.0005),
      seconds,
    })
  }
  return policies
}
