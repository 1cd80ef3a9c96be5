import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embedded, runDeps, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { AppError } from '../errors.ts'
import { assumedSecondsPerUnit, assumedUnits, queuedWork, readQueuedWork } from './queued-work.ts'

const none = { jobs: 0, running: 0, units: 0, oldestSeconds: 0 }
const nothing = { jobs: 0, seconds: 0, oldestSeconds: 0 }
const noDepths = { interactive: 0, batch: 0 }

test('work is what is left, in seconds of one worker at the measured speed', () => {
  const backlog = { interactive: { jobs: 3, running: 0, units: 30, oldestSeconds: 7 }, batch: none }
  const depths = { interactive: 2, batch: 0 }
  assert.deepEqual(queuedWork(backlog, depths, { workers: 4, secondsPerUnit: 2 }), {
    interactive: { jobs: 3, seconds: 60, oldestSeconds: 7 },
    batch: { jobs: 0, seconds: 0, oldestSeconds: 0 },
  })
})

test('a fleet that has never made a picture has work all the same, or nobody would start its first worker', () => {
  const backlog = { interactive: { jobs: 1, running: 0, units: 0.1, oldestSeconds: 1 }, batch: none }
  const { interactive } = queuedWork(backlog, noDepths, { workers: 0, secondsPerUnit: undefined })
  assert.equal(interactive.seconds, 0.1 * assumedSecondsPerUnit)
})

test('jobs that only the queue has count as much as the others, or as a usual one', () => {
  const load = { workers: 1, secondsPerUnit: 0.5 }
  const backlog = { interactive: { jobs: 2, running: 0, units: 8, oldestSeconds: 0 }, batch: none }
  const { interactive, batch } = queuedWork(backlog, { interactive: 12, batch: 3 }, load)
  assert.deepEqual([interactive.jobs, interactive.seconds], [12, (8 + 10 * 4) * 0.5])
  assert.deepEqual([batch.jobs, batch.seconds], [3, 3 * 4 * 0.5])
  const wiped = queuedWork({ interactive: none, batch: none }, { interactive: 5, batch: 0 }, load)
  assert.deepEqual([wiped.interactive.jobs, wiped.interactive.seconds], [5, 5 * assumedUnits * 0.5])
})

test('it is read from queue and status store, falls as jobs are made, and is unknown without one of them', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, { prompt: 'a red apple', steps: 10, width: 512, height: 512 })
  await submit(parts, { prompt: 'a pear', steps: 10, width: 512, height: 512, priority: 'batch' })
  const before = await readQueuedWork(parts)
  const units = (10 * 2 * 512 * 512) / 1e6
  assert.deepEqual(
    [before.work.interactive.jobs, before.work.batch.jobs, before.work.interactive.seconds, before.workers],
    [1, 1, units * assumedSecondsPerUnit, 0],
  )
  await parts.status.advance(id, { status: 'running', progress: { step: 5, steps: 10 } })
  assert.equal((await readQueuedWork(parts)).work.interactive.seconds, units / 2)
  await parts.status.heartbeat('a worker', 3)
  const known = await readQueuedWork(parts)
  assert.deepEqual([known.work.interactive.seconds, known.workers], [(units / 2) * 3, 1])
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const after = await readQueuedWork(parts)
  assert.deepEqual(after.work, { interactive: nothing, batch: nothing })

  const away = async () => {
    throw new AppError('unavailable', 'It does not answer.')
  }
  await assert.rejects(readQueuedWork({ ...parts, status: { ...parts.status, backlog: away } }), AppError)
  await assert.rejects(readQueuedWork({ ...parts, queue: { depths: away } }), AppError)
})
