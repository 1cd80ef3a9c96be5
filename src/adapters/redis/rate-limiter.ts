import { createHash } from 'node:crypto'
import { roomIn } from '../../jobs/buckets.ts'
import type { Caller, RateLimit, RateName } from '../../jobs/caller.ts'
import type { Log } from '../../jobs/log.ts'
import type { RateLimiter } from '../../jobs/ports.ts'
import type { Redis } from './connection.ts'
import { defineScript } from './script.ts'

export interface RedisRateLimiterOptions {
  readonly namespace: string
  /** Decides while Redis is unavailable, with half of a caller's limit: each server then counts on its own. */
  readonly fallback: RateLimiter
  readonly log: Log
}

/**
 * A bucket of `burst` that refills over time is stored as one number: when it is full again. The key expires then.
 * ARGV: ms to refill one, burst, amount. Returns the ms until there is room, or 0 after counting the amount.
 */
const takeScript = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval = tonumber(ARGV[1])
local depth = interval * ARGV[2]
-- It is never empty for longer than it takes to fill, also when Redis' clock was set back.
local full = math.min(math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0), now + depth)
full = full + interval * math.min(ARGV[3], ARGV[2])
local wait = full - now - depth
-- Half a millisecond is rounding.
if tonumber(ARGV[3]) > 0 and wait > 0.5 then return math.ceil(wait) end
if full - now < 1 then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', string.format('%.0f', math.ceil(full - now)))
return 0
`)

/** The ms until the bucket is full. */
const roomScript = defineScript(`
local time = redis.call('TIME')
local full = tonumber(redis.call('GET', KEYS[1])) or 0
return string.format('%.3f', math.max(0, full - time[1] * 1000 - math.floor(time[2] / 1000)))
`)

/**
 * Counts across all servers. Callers are stored as hashes only. Waiting times are whole seconds.
 */
export function redisRateLimiter(redis: Redis, options: RedisRateLimiterOptions): RateLimiter {
  const { namespace, fallback, log } = options
  let away = false
  const keyOf = ({ account }: Caller, name: RateName) => {
    const hash = createHash('sha256').update(`${name} ${account}`).digest('base64url').slice(0, 22)
    return `${namespace}:limit:${hash}`
  }
  const halved = (caller: Caller, name: RateName, rate: RateLimit) => ({
    ...caller,
    limits: { ...caller.limits, [name]: halfOf(rate) },
  })
  const answered = () => {
    if (away) log.info({}, 'Redis is back: callers are limited across all servers again')
    away = false
  }
  const failed = (err: unknown) => {
    if (!away) log.warn({ err }, 'Redis is unavailable: each server limits callers on its own')
    away = true
  }
  return {
    async take(caller, name = 'rate', amount = 1) {
      const rate = caller.limits[name]
      if (rate === undefined) return 0
      const args = [60_000 / rate.perMinute, rate.burst, amount].map(String)
      try {
        const waitMs = Number(await redis.script(takeScript, [keyOf(caller, name)], args))
        answered()
        return Math.ceil(waitMs / 1000)
      } catch (err) {
        failed(err)
        return fallback.take(halved(caller, name, rate), name, amount)
      }
    },
    async room(caller, name) {
      const rate = caller.limits[name]
      if (rate === undefined) return undefined
      try {
        const fullInMs = Number(await redis.script(roomScript, [keyOf(caller, name)], []))
        answered()
        return roomIn(rate, fullInMs)
      } catch (err) {
        failed(err)
        return fallback.room(halved(caller, name, rate), name)
      }
    },
  }
}

function halfOf({ perMinute, burst }: RateLimit): RateLimit {
  return { perMinute: perMinute / 2, burst: Math.max(1, Math.floor(burst / 2)) }
}
