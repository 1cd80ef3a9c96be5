import type { Caller } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { RateLimiter } from '../ports.ts'

/** Counts a job or an upload of this caller; rejects `rate_limited`. */
export async function checkRate(limiter: RateLimiter, caller: Caller): Promise<void> {
  const retryAfterSeconds = Math.ceil(await limiter.take(caller))
  if (retryAfterSeconds === 0) return
  const message = `You have sent the maximum number of jobs and uploads for now. Try again in ${retryAfterSeconds} seconds.`
  throw new AppError('rate_limited', message, { retryAfterSeconds })
}
