import { AppError } from '../errors.ts'
import type { RateLimiter } from '../ports.ts'

/** Counts a job or an upload of this client; rejects `rate_limited`. Who has no name, or no limiter, is not limited. */
export async function checkRate(limiter: RateLimiter | undefined, client: string | undefined): Promise<void> {
  const seconds = client === undefined ? 0 : ((await limiter?.take(client)) ?? 0)
  if (seconds === 0) return
  const retryAfterSeconds = Math.ceil(seconds)
  const message = `You have sent as many jobs and uploads as one client may for now. Try again in ${retryAfterSeconds} seconds.`
  throw new AppError('rate_limited', message, { retryAfterSeconds })
}
