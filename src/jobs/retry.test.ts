import assert from 'node:assert/strict'
import { test } from 'node:test'
import { doubled, pauseAfter, retry } from './retry.ts'

const backoff = { firstMs: 1, longestMs: 4 }

test('pauses double up to the longest, and have jitter above half of the first', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 2000].map((failures) => doubled(backoff, failures)),
    [1, 2, 4, 4, 4],
  )
  const pauses = Array.from({ length: 200 }, () => pauseAfter({ firstMs: 100, longestMs: 400 }, 3))
  assert.ok(Math.min(...pauses) >= 50 && Math.max(...pauses) <= 450)
  assert.ok(new Set(pauses).size > 100, 'they differ')
})

test('an action is repeated until it succeeds, and each failure is reported with its number', async () => {
  const failures: number[] = []
  let calls = 0
  const answer = await retry(
    async () => {
      calls += 1
      if (calls < 4) throw new Error('not yet')
      return 'done'
    },
    { ...backoff, onFailure: (_, retried) => failures.push(retried.failures) },
  )
  assert.deepEqual([answer, failures], ['done', [1, 2, 3]])
})

test('what `onFailure` throws ends the retrying', async () => {
  let calls = 0
  const action = async () => {
    calls += 1
    throw new Error('for good')
  }
  const onFailure = (thrown: unknown) => {
    throw new Error('given up', { cause: thrown })
  }
  await assert.rejects(retry(action, { ...backoff, onFailure }), /given up/)
  assert.equal(calls, 1)
})

test('an abort ends the pause with its own reason, and no action follows', async () => {
  const stopping = new AbortController()
  let calls = 0
  const action = async () => {
    calls += 1
    throw new Error('away')
  }
  const onFailure = () => stopping.abort(new Error('the process stops'))
  const options = { firstMs: 1e6, longestMs: 1e6, onFailure, signal: stopping.signal }
  await assert.rejects(retry(action, options), /the process stops/)
  await assert.rejects(retry(action, options), /the process stops/)
  assert.equal(calls, 1)
})
