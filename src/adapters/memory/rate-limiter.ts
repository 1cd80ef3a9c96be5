import type { RateLimiter } from '../../jobs/ports.ts'

export interface MemoryRateLimiterOptions {
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number
}

const mostCallers = 100_000

/**
 * Counts in this process only. A bucket of `burst` jobs that fills with time is kept as one number: when it is full
 * again; full ones are forgotten, and beyond 100 000 callers the least recently counted one is too. Waiting
 * times are whole seconds.
 */
export function memoryRateLimiter(options: MemoryRateLimiterOptions = {}): RateLimiter {
  const { now = () => performance.now() } = options
  /** In order of the last job of each caller. */
  const fullAt = new Map<string, number>()

  function forget(time: number): void {
    // Two for each that may be added, so that the map shrinks and no call takes long.
    for (let count = 0; count < 2; count++) {
      const oldest = fullAt.entries().next().value
      if (oldest === undefined) return
      const [account, full] = oldest
      if (full > time && fullAt.size < mostCallers) return
      fullAt.delete(account)
    }
  }

  return {
    async take({ account, limits: { rate } }) {
      if (rate === undefined) return 0
      const time = now()
      const interval = 60_000 / rate.perMinute
      const full = Math.max(time, fullAt.get(account) ?? 0) + interval
      const waitMs = full - time - rate.burst * interval
      // Half a millisecond is rounding.
      if (waitMs > 0.5) return Math.ceil(waitMs / 1000)
      forget(time)
      fullAt.delete(account)
      fullAt.set(account, full)
      return 0
    },
  }
}
