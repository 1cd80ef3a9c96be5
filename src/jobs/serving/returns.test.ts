import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createReturns } from './returns.ts'

test('a crowd that is refused is spread over as long as its size needs, and a few come back soon', () => {
  let ms = 0
  const returns = createReturns(() => ms)
  const few = Array.from({ length: 20 }, () => returns(0))
  assert.ok(Math.max(...few) <= 10 && Math.min(...few) >= 5, few.join())
  const crowd = Array.from({ length: 30_000 }, () => returns(0))
  assert.ok((crowd.at(-1) ?? 0) >= 300)
  // what comes back within any second is no more than twice what comes back on average
  const perSecond = Map.groupBy(crowd, (seconds) => seconds)
  for (const [seconds, those] of perSecond) if (seconds > 10) assert.ok(those.length <= 200, `${seconds}`)
  const million = Array.from({ length: 1_000_000 }, () => returns(0))
  assert.ok(million.every((seconds) => seconds <= 1200))
  // when they have been let go, nobody waits for them
  ms += 1_200_000
  assert.ok(returns(0) <= 10)
})

test('nobody comes back before a place can be free, and a place that takes long does not keep anybody away', () => {
  const returns = createReturns()
  assert.ok(returns(40) >= 40)
  assert.ok(returns(4000) <= 120)
})
