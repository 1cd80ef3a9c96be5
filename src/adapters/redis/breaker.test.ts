import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBreaker } from './breaker.ts'

test('after a time-out nothing passes for a second, then one call, whose fate decides', () => {
  let time = 0
  const breaker = createBreaker(1000, () => time)
  assert.deepEqual([breaker.pass(), breaker.pass()], [true, true])
  breaker.timedOut()
  time = 999
  assert.equal(breaker.pass(), false)
  time = 1000
  assert.deepEqual([breaker.pass(), breaker.pass()], [true, false], 'one probe')
  breaker.timedOut()
  time = 1999
  assert.equal(breaker.pass(), false)
  time = 2000
  assert.equal(breaker.pass(), true)
  breaker.answered()
  assert.deepEqual([breaker.pass(), breaker.pass()], [true, true])
})

test('a new connection starts anew', () => {
  const breaker = createBreaker(1000, () => 0)
  breaker.timedOut()
  breaker.reset()
  assert.equal(breaker.pass(), true)
})
