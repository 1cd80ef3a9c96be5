import { createHash } from 'node:crypto'
import type { Log } from '../../jobs/log.ts'
import type { RateLimiter } from '../../jobs/ports.ts'
import type { Redis } from './connection.ts'
import { defineScript } from './script.ts'

export interface RedisRateLimiterOptions {
  readonly namespace: string
  /** How many jobs per minute a client may submit in the long run. */
  readonly perMinute: number
  /** How many it may submit at once after a pause. */
  readonly burst: number
  /** Decides while Redis is unavailable: each server by itself, so it should allow less. */
  readonly fallback: RateLimiter
  readonly log: Log
}

/**
 * A bucket of `burst` jobs that refills over time is stored as one number: when it is full again. The key expires then.
 * ARGV: ms to refill one job, burst. Returns the ms until there is room, or 0 after counting the job.
 */
const takeScript = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval = tonumber(ARGV[1])
local depth = interval * ARGV[2]
-- It is never empty for longer than it takes to fill, also when Redis' clock was set back.
local full = math.min(math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0), now + depth) + interval
local wait = full - now - depth
-- Half a millisecond is rounding.
if wait > 0.5 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', string.format('%.0f', math.ceil(full - now)))
return 0
`)

/**
 * Counts across all servers. Clients are stored as hashes only. Waiting times are whole seconds.
 */
export function redisRateLimiter(redis: Redis, options: RedisRateLimiterOptions): RateLimiter {
  const { namespace, perMinute, burst, fallback, log } = options
  const args = [String(60_000 / perMinute), String(burst)]
  let away = false
  return {
    async take(client) {
      const hash = createHash('sha256').update(client).digest('base64url').slice(0, 22)
      try {
        const waitMs = Number(await redis.script(takeScript, [`${namespace}:limit:${hash}`], args))
        if (away) log.info({}, 'Clients are limited across all servers again')
        away = false
        return Math.ceil(waitMs / 1000)
      } catch (err) {
        if (!away) log.warn({ err }, 'Redis is unavailable: each server limits clients by itself')
        away = true
        return fallback.take(client)
      }
    },
  }
}
