import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { anonymousCaller, type RateLimit } from '../../src/jobs/caller.ts'
import type { RateLimiter } from '../../src/jobs/ports.ts'

export interface RateLimiterKit {
  /** One server's limiter. Those of one kit count together. */
  open(): RateLimiter
  /** Lets that much time pass. */
  pass(ms: number): Promise<void>
}

/** The limiter as seen by callers under one limit, distinguished by their account. */
export function limited(limiter: RateLimiter, rate: RateLimit) {
  return { take: (account: string) => limiter.take({ ...anonymousCaller('::1', { rate }), account }) }
}

/** What every RateLimiter promises. `start` answers a kit that has counted nothing yet. */
export function rateLimiterContract(name: string, start: (t: TestContext) => Promise<RateLimiterKit>): void {
  suite(`${name} as RateLimiter`, () => {
    test('allows a burst, then refuses with the seconds until there is room', async (t) => {
      const limiter = limited((await start(t)).open(), { perMinute: 6, burst: 3 })
      for (let count = 0; count < 3; count++) assert.equal(await limiter.take('a'), 0)
      const seconds = await limiter.take('a')
      assert.ok(Number.isInteger(seconds) && seconds >= 8 && seconds <= 10, `about 10 s, not ${seconds}`)
    })

    test('limits nobody who has no such limit', async (t) => {
      const limiter = (await start(t)).open()
      for (let count = 0; count < 100; count++) assert.equal(await limiter.take(anonymousCaller('a')), 0)
    })

    test('counts each client for itself', async (t) => {
      const limiter = limited((await start(t)).open(), { perMinute: 1, burst: 1 })
      assert.equal(await limiter.take('a'), 0)
      assert.equal(await limiter.take('b'), 0)
      assert.ok((await limiter.take('a')) > 0)
    })

    test('counts nothing when it refuses', async (t) => {
      const limiter = limited((await start(t)).open(), { perMinute: 2, burst: 1 })
      await limiter.take('a')
      const first = await limiter.take('a')
      for (let count = 0; count < 50; count++) await limiter.take('a')
      const last = await limiter.take('a')
      assert.ok(last <= first && last > 0, `the wait went from ${first} s to ${last} s`)
    })

    test('has room again after the time that it said, for as many as that fills in', async (t) => {
      const { open, pass } = await start(t)
      const limiter = limited(open(), { perMinute: 60, burst: 2 })
      assert.deepEqual([await limiter.take('a'), await limiter.take('a')], [0, 0])
      const seconds = await limiter.take('a')
      assert.equal(seconds, 1)
      await pass(seconds * 1000)
      assert.equal(await limiter.take('a'), 0)
      assert.equal(await limiter.take('a'), 1)
    })

    test('holds no more than the burst after a long pause', async (t) => {
      const { open, pass } = await start(t)
      const limiter = limited(open(), { perMinute: 60, burst: 2 })
      await limiter.take('a')
      await pass(3500)
      const answers = await Promise.all(Array.from({ length: 5 }, () => limiter.take('a')))
      assert.equal(answers.filter((seconds) => seconds === 0).length, 2)
    })

    test('counts amounts, each bucket of a caller for itself, and takes back what was not used', async (t) => {
      const limiter = (await start(t)).open()
      const limit = { perMinute: 1, burst: 100 }
      const caller = anonymousCaller('::1', { work: limit, uploadBytes: limit })
      assert.equal(await limiter.take(caller, 'work', 60), 0)
      assert.equal(await limiter.take(caller, 'work', 40), 0)
      assert.ok((await limiter.take(caller, 'work', 0.5)) > 0)
      assert.equal(
        await limiter.take(caller, 'uploadBytes', 1000),
        0,
        'more than the burst counts as the burst',
      )
      assert.ok((await limiter.take(caller, 'uploadBytes')) > 0)
      assert.equal(await limiter.take(caller), 0, 'no such limit')
      await limiter.take(caller, 'work', -50)
      const seconds = await limiter.take(caller, 'work', 60)
      assert.ok(seconds > 500 && seconds <= 600, `10 minutes to refill ten, not ${seconds} s`)
      assert.equal(await limiter.take(caller, 'work', 50), 0)
      for (let count = 0; count < 3; count++) await limiter.take(caller, 'uploadBytes', -90)
      assert.equal(await limiter.take(caller, 'uploadBytes', 100), 0)
      assert.ok((await limiter.take(caller, 'uploadBytes', 1)) > 0, 'never more than the burst')
    })

    test('says what is left in each bucket, and when there is one more', async (t) => {
      const limiter = (await start(t)).open()
      const caller = anonymousCaller('::1', {
        rate: { perMinute: 6, burst: 3 },
        work: { perMinute: 1, burst: 100 },
      })
      assert.deepEqual(await limiter.room(caller, 'rate'), { left: 3, seconds: 0 })
      assert.equal(await limiter.room(caller, 'requests'), undefined)
      await limiter.take(caller)
      await limiter.take(caller, 'work', 40.5)
      const rate = await limiter.room(caller, 'rate')
      assert.ok(
        rate && rate.left >= 2 && rate.left < 3 && rate.seconds > 5 && rate.seconds <= 10,
        `${rate?.seconds}`,
      )
      const work = await limiter.room(caller, 'work')
      assert.ok(work && work.left >= 59.5 && work.left < 60 && work.seconds > 20 && work.seconds <= 30)
      while ((await limiter.take(caller)) === 0);
      const empty = await limiter.room(caller, 'rate')
      assert.ok(empty && empty.left < 1 && empty.seconds <= (await limiter.take(caller)))
    })

    test('allows no more than the burst to many at once, over all servers', async (t) => {
      const { open } = await start(t)
      const limiters = Array.from({ length: 4 }, () => limited(open(), { perMinute: 1, burst: 10 }))
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, index) => limiters[index % 4]?.take('a')),
      )
      assert.equal(answers.filter((seconds) => seconds === 0).length, 10)
    })
  })
}
