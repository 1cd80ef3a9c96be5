import { roomIn } from '../../jobs/buckets.ts'
import type { RateLimiter } from '../../jobs/ports.ts'

export interface MemoryRateLimiterOptions {
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number
}

const mostBuckets = 100_000

/**
 * Counts in this process only. A bucket of `burst` that fills with time is kept as one number: when it is full
 * again; full ones are forgotten, and beyond 100 000 the least recently counted one is too. Waiting
 * times are whole seconds.
 */
export function memoryRateLimiter(options: MemoryRateLimiterOptions = {}): RateLimiter {
  const { now = () => performance.now() } = options
  /** In the order in which they were last counted. */
  const fullAt = new Map<string, number>()

  function forget(time: number): void {
    // Two for each that may be added, so that the map shrinks and no call takes long.
    for (let count = 0; count < 2; count++) {
      const oldest = fullAt.entries().next().value
      if (oldest === undefined) return
      const [account, full] = oldest
      if (full > time && fullAt.size < mostBuckets) return
      fullAt.delete(account)
    }
  }

  return {
    async take({ account, limits }, name = 'rate', amount = 1) {
      const limit = limits[name]
      if (limit === undefined) return 0
      const time = now()
      const key = `${name} ${account}`
      const interval = 60_000 / limit.perMinute
      const full = Math.max(time, fullAt.get(key) ?? 0) + Math.min(amount, limit.burst) * interval
      const waitMs = full - time - limit.burst * interval
      // Half a millisecond is rounding.
      if (amount > 0 && waitMs > 0.5) return Math.ceil(waitMs / 1000)
      forget(time)
      fullAt.delete(key)
      fullAt.set(key, full)
      return 0
    },
    async room({ account, limits }, name) {
      const limit = limits[name]
      return limit && roomIn(limit, (fullAt.get(`${name} ${account}`) ?? 0) - now())
    },
  }
}
