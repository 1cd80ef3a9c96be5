import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someRequest } from '../../../test/contract/jobs.ts'
import { estimateSeconds, pollAfterMs, remainingUnits } from './waiting.ts'

/** Polls of a client that follows the advice, for a job that takes `actual` seconds and is estimated at `estimated`. */
function questions(actual: number, estimated: number | undefined): number {
  let [time, asked] = [0, 0]
  while (time < actual) {
    const remaining = estimated === undefined ? undefined : Math.max(0, estimated - time)
    time += pollAfterMs(time, remaining) / 1000
    asked += 1
  }
  return asked
}

test('a client asks about three times a job when the estimate is about right', () => {
  for (const seconds of [2, 5, 20, 50, 600, 3000]) {
    for (const error of [0.8, 1, 1.15]) {
      const asked = questions(seconds * error, seconds)
      assert.ok(asked <= 5, `${asked} questions for ${seconds * error} s thought to be ${seconds} s`)
    }
  }
  assert.equal(questions(20, 20), 2)
})

test('pauses are never shorter than half a second, nor longer than half an hour, or half a minute without an estimate', () => {
  assert.deepEqual(
    [pollAfterMs(0, 0), pollAfterMs(0, 86_400), pollAfterMs(3600, undefined)],
    [500, 1_800_000, 30_000],
  )
})

test('without an estimate the pauses grow, so that questions stay few', () => {
  assert.equal(pollAfterMs(0, undefined), 500)
  assert.ok(questions(60, undefined) < 9)
})

test('a clock that went back does no harm', () => {
  assert.equal(pollAfterMs(-100, undefined), 500)
})

test('what is left of a job shrinks with its progress', () => {
  const request = someRequest({ count: 2, steps: 10, width: 1000, height: 500, guidance_scale: 1 })
  assert.equal(remainingUnits({ request }, undefined), 10)
  assert.equal(remainingUnits({ request }, { step: 5, steps: 20 }), 7.5)
  assert.equal(estimateSeconds(7.5, { workers: 1, secondsPerUnit: 2 }), 15)
  assert.equal(estimateSeconds(7.5, { workers: 1, secondsPerUnit: undefined }), undefined)
})
