import type { Caller, RateName } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { RateLimiter } from '../ports.ts'

const limits: Record<RateName, (most: number) => string> = {
  rate: (most) => `${most} jobs and uploads at once`,
  requests: (most) => `${most} requests at once`,
  work: (most) => `${most} units of work per hour`,
  uploadBytes: (most) => `${Math.floor(most / 2 ** 20)} MB of uploads at once`,
  resultBytes: (most) => `${Math.floor(most / 2 ** 20)} MB of pictures at once`,
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
  const limit = limits[name](caller.limits[name]?.burst ?? 0)
  const message = `This is more than you may have for now (${limit}). Try again in ${retryAfterSeconds} seconds.`
  throw new AppError('rate_limited', message, { retryAfterSeconds })
}
