import type { Caller, RateLimit, RateName } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { RateLimiter } from '../ports.ts'

const limits: Record<RateName, (limit: RateLimit) => string> = {
  rate: ({ burst }) => `${burst} jobs and uploads at once`,
  requests: ({ burst }) => `${burst} requests at once`,
  work: (limit) => `${limit.burst} units of work per ${secondsOf(limit) > 3600 ? 'day' : 'hour'}`,
  uploadBytes: ({ burst }) => `${Math.floor(burst / 2 ** 20)} MB of uploads at once`,
  resultBytes: ({ burst }) => `${Math.floor(burst / 2 ** 20)} MB of pictures at once`,
  held: ({ burst }) => `${burst} jobs while their end cannot be counted`,
  failures: ({ burst }) => `${burst} keys that are not valid`,
}

/** The time in which a bucket fills. */
export function secondsOf({ perMinute, burst }: RateLimit): number {
  return Math.round((60 * burst) / perMinute)
}

/** Counts an amount in a bucket of this caller; rejects `rate_limited` with the limit. */
export async function checkRate(
  limiter: RateLimiter,
  caller: Caller,
  name: RateName = 'rate',
  amount = 1,
): Promise<void> {
  const retryAfterSeconds = Math.ceil(await limiter.take(caller, name, amount))
  if (retryAfterSeconds === 0) return
  const limit = caller.limits[name]
  const shown = limit === undefined ? '' : ` (${limits[name](limit)})`
  const message = `This is more than you may have for now${shown}. Try again in ${retryAfterSeconds} seconds.`
  throw new AppError('rate_limited', message, { retryAfterSeconds })
}
