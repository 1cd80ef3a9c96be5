import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someRequest, someTask } from '../../test/contract/jobs.ts'
import type { Finish } from './finish.ts'
import type { ResolvedRequest } from './job.ts'
import { isTask, taskFault } from './task-check.ts'

const upload = someTask().id
const someFinish = (changes: Partial<Finish> = {}): Finish => ({
  background: '#ffffff',
  fill: 85,
  width: 4096,
  height: 4096,
  margin: { top: 0, right: 0, bottom: 0, left: 0 },
  shadow: 'none',
  ...changes,
})

test('a task of a server passes, at the limits too', () => {
  const requests: Partial<ResolvedRequest>[] = [
    {},
    { count: 4, steps: 100, width: 1024, height: 64, guidance_scale: 30, seed: 2 ** 32 - 1, clip_skip: 12 },
    { init_image: upload, mask: upload, strength: 1, format: 'webp', quality: 1 },
    { init_image: upload, strength: 0, finish: someFinish({ background: upload }), gate: { tries: 4 } },
    { init_image: upload, strength: 0, keep: 'product', format: 'webp' },
    { prompt: 'x'.repeat(2000), negative_prompt: '', loras: [{ name: 'detail', strength: -2 }] },
  ]
  for (const request of requests) {
    const task = someTask({ request: someRequest(request), units: 12.5, sent: 'a hash', account: 'ann' })
    assert.ok(isTask(task), taskFault(task))
  }
})

test('a task that no server would send is none, whoever signed it', () => {
  const now = Date.now()
  const inMs = (ms: number) => new Date(now + ms).toISOString()
  const year = 366 * 24 * 3_600_000
  const wrong = [
    ...[
      { count: 0 },
      { count: 1000 },
      { width: 0 },
      { width: 16_384 },
      { height: 63 },
      { height: -64 },
      { steps: 0 },
      { steps: 1e9 },
      { seed: -1 },
      { seed: 2 ** 32 },
      { guidance_scale: 1e300 },
      { clip_skip: 0 },
      { strength: 0, init_image: upload },
      { finish: someFinish({ background: '../etc/passwd' }) },
      { finish: someFinish({ width: 10_000 }) },
      { gate: { tries: 5 } },
      { quality: 101, format: 'jpeg' as const },
      { prompt: 'x'.repeat(2001) },
      { loras: Array.from({ length: 6 }, () => ({ name: 'detail', strength: 1 })) },
      { loras: [{ name: 'detail', strength: 1e30 }] },
    ].map((request) => someTask({ request: someRequest(request) })),
    someTask({ expires_at: inMs(2 * year) }),
    someTask({ created_at: inMs(year), expires_at: inMs(year + 1000) }),
    someTask({ units: -1 }),
    someTask({ units: 1e300 }),
  ]
  for (const task of wrong) {
    assert.equal(isTask(task), false, JSON.stringify(task))
    assert.match(taskFault(task), /^\/\w/)
  }
})
