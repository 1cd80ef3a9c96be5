import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Embedded, embedded, runDeps, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { anonymousCaller, type Caller } from '../caller.ts'
import { cancelJob } from './cancel.ts'
import { deleteJob } from './delete.ts'
import { listJobs } from './list.ts'

const keyed = (name: string): Caller => ({ ...anonymousCaller('192.0.2.1'), name, account: name })
const [ann, bob] = [keyed('ann'), keyed('bob')]

async function jobsOf(parts: Embedded, caller: Caller, count: number): Promise<string[]> {
  const ids: string[] = []
  for (let n = 0; n < count; n += 1) {
    ids.unshift((await submit(parts, { prompt: `picture ${n}` }, { caller })).id)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return ids
}

test("a caller's list has its own jobs, newest first, page by page, with their pictures", async (t) => {
  const parts = embedded(t)
  const mine = await jobsOf(parts, ann, 3)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  await jobsOf(parts, bob, 1)
  mine.unshift(...(await jobsOf(parts, ann, 2)))
  const first = await listJobs(parts, ann, { limit: '4' })
  assert.deepEqual(
    first.jobs.map(({ id, status, images }) => [id, status, images.length]),
    mine.slice(0, 4).map((id, index) => [id, ...(index < 2 ? ['queued', 0] : ['succeeded', 1])]),
  )
  const second = await listJobs(parts, ann, { limit: '4', cursor: first.next })
  assert.deepEqual([second.jobs.map(({ id }) => id), second.next], [mine.slice(4), undefined])
  assert.deepEqual((await listJobs(parts, ann, {})).jobs.length, 5)
})

test('a list can be of some statuses, and has nothing of what was deleted', async (t) => {
  const parts = embedded(t)
  const [queued = '', canceled = '', deleted = ''] = await jobsOf(parts, ann, 3)
  await cancelJob(parts, canceled, 'ann')
  for (let n = 0; n < 2; n += 1) await deleteJob(parts, deleted, 'ann')
  const ids = async (status?: string) => (await listJobs(parts, ann, { status })).jobs.map(({ id }) => id)
  assert.deepEqual(await ids(), [queued, canceled])
  assert.deepEqual(await ids('canceled'), [canceled])
  assert.deepEqual(await ids('queued, canceled'), [queued, canceled])
  assert.deepEqual(await ids('failed'), [])
})

test('what a list cannot answer is refused with a sentence', async (t) => {
  const parts = embedded(t)
  await jobsOf(parts, ann, 2)
  await assert.rejects(listJobs(parts, anonymousCaller('192.0.2.1'), {}), { code: 'forbidden' })
  const faults = [
    [{ status: 'done' }, 'status'],
    [{ limit: '0' }, 'limit'],
    [{ limit: '101' }, 'limit'],
    [{ limit: '1.5' }, 'limit'],
    [{ limit: 'all' }, 'limit'],
    [{ cursor: 'x' }, 'cursor'],
    [{ cursor: Buffer.from(`${Date.now()}.abc`).toString('base64url') }, 'cursor'],
  ] as const
  for (const [request, param] of faults) {
    await assert.rejects(listJobs(parts, ann, request), { code: 'invalid_request', param })
  }
  const few = { ...ann, limits: { requests: { perMinute: 1, burst: 2 } } }
  await listJobs(parts, few, {})
  await listJobs(parts, few, {})
  await assert.rejects(listJobs(parts, few, {}), { code: 'rate_limited' }, 'two jobs are one more request')
  const { next } = await listJobs(parts, ann, { limit: '1' })
  assert.equal(typeof next, 'string')
  await assert.rejects(listJobs(parts, bob, { cursor: next }), { param: 'cursor' }, "another's cursor")
})
