import type { RateLimit } from './caller.ts'
import type { Room } from './ports.ts'

/** What a bucket has left that will be full in so many milliseconds. */
export function roomIn({ perMinute, burst }: RateLimit, fullMs: number): Room {
  const interval = 60_000 / perMinute
  const left = Math.max(0, burst - Math.max(0, fullMs) / interval)
  // half a thousandth is rounding: see the limiters
  const whole = Math.floor(left + 0.0005)
  const seconds = whole >= burst ? 0 : Math.max(1, Math.ceil(((whole + 1 - left) * interval) / 1000))
  return { left, seconds }
}
