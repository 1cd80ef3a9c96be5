import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limited, rateLimiterContract } from '../../../test/contract/rate-limiter.ts'
import type { RateLimiter } from '../../jobs/ports.ts'
import { memoryRateLimiter } from './rate-limiter.ts'

/** A clock that only advances when a test advances it. */
function stoppedClock() {
  let time = 1000
  return {
    now: () => time,
    pass: (ms: number) => {
      time += ms
    },
  }
}

rateLimiterContract('memory', async () => {
  const { now, pass } = stoppedClock()
  // This limiter counts for one server only.
  let limiter: RateLimiter | undefined
  return {
    open: () => {
      limiter ??= memoryRateLimiter({ now })
      return limiter
    },
    pass: async (ms) => pass(ms),
  }
})

test('forgets clients whose bucket is full again, and keeps those that wait', async () => {
  const { now, pass } = stoppedClock()
  const limiter = limited(memoryRateLimiter({ now }), { perMinute: 60, burst: 1 })
  await limiter.take('waits')
  assert.equal(await limiter.take('waits'), 1)
  pass(1000)
  assert.equal(await limiter.take('waits'), 0)
  for (let count = 0; count < 1000; count++) await limiter.take(`another ${count}`)
  assert.equal(await limiter.take('waits'), 1)
})

test('stays bounded however many clients come, and lets the newest in', async () => {
  const { now } = stoppedClock()
  const limiter = limited(memoryRateLimiter({ now }), { perMinute: 1, burst: 1 })
  await limiter.take('first')
  for (let count = 0; count < 100_000; count++) await limiter.take(`${count}`)
  assert.ok((await limiter.take('99999')) > 0, 'the newest is still counted')
  assert.equal(await limiter.take('first'), 0, 'the oldest was forgotten')
})

test('runs on the monotonic clock unless told otherwise', async () => {
  const limiter = limited(memoryRateLimiter(), { perMinute: 1, burst: 1 })
  assert.equal(await limiter.take('a'), 0)
  const seconds = await limiter.take('a')
  assert.ok(seconds > 50 && seconds <= 60)
})
