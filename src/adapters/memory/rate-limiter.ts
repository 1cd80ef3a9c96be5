import type { RateLimiter } from '../../jobs/ports.ts'

export interface MemoryRateLimiterOptions {
  /** How many jobs per minute a client may submit in the long run. */
  readonly perMinute: number
  /** How many it may submit at once after a pause. */
  readonly burst: number
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number
}

const mostClients = 100_000

/**
 * Counts in this process only. A bucket of `burst` jobs that refills over time is stored as one number: when it is
 * full again; full ones are dropped, and beyond 100 000 clients so is the least recently seen one. Waiting times are
 * whole seconds.
 */
export function memoryRateLimiter(options: MemoryRateLimiterOptions): RateLimiter {
  const { perMinute, burst, now = () => performance.now() } = options
  const interval = 60_000 / perMinute
  /** In order of the last job of each client. */
  const fullAt = new Map<string, number>()

  function forget(time: number): void {
    // Two for each that may be added: the map shrinks, and no call takes long.
    for (let count = 0; count < 2; count++) {
      const oldest = fullAt.entries().next().value
      if (oldest === undefined) return
      const [client, full] = oldest
      if (full > time && fullAt.size < mostClients) return
      fullAt.delete(client)
    }
  }

  return {
    async take(client) {
      const time = now()
      const full = Math.max(time, fullAt.get(client) ?? 0) + interval
      const waitMs = full - time - burst * interval
      // Half a millisecond is rounding.
      if (waitMs > 0.5) return Math.ceil(waitMs / 1000)
      forget(time)
      fullAt.delete(client)
      fullAt.set(client, full)
      return 0
    },
  }
}
