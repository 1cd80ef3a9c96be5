import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someManifest } from '../../../test/contract/jobs.ts'
import { embedded, storageIsAway, submit } from '../../../test/jobs/embedded.ts'
import type { JobEvent, Task } from '../job.ts'
import { createJobIds } from '../job-id.ts'
import { viewJob } from './job-view.ts'
import { handleEvent } from './news.ts'

const apple = { prompt: 'an apple' }
const event = (id: string, status: JobEvent['status']): JobEvent => ({
  v: 1,
  id,
  status,
  at: new Date().toISOString(),
  error: { code: 'internal', message: 'so it is said' },
})

test('an event that nothing bears out changes nothing: the job still waits', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  for (const status of ['failed', 'succeeded', 'canceled', 'expired'] as const) {
    await handleEvent(parts, event(id, status))
    assert.equal((await viewJob(parts, id)).status, 'queued')
  }
})

test('an event writes what the manifest says, whatever it says itself', async (t) => {
  const parts = embedded(t)
  const view = await submit(parts, apple)
  const state = await parts.status.get(view.id)
  assert.ok(state)
  await parts.images.commit(someManifest({ ...state, v: 2 } as Task))
  await handleEvent(parts, event(view.id, 'failed'))
  const after = await parts.status.get(view.id)
  assert.deepEqual([after?.status, after?.error], ['succeeded', undefined])
})

test('a job is expired when its time is over, and not before', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  parts.clock.ahead = 3_600_001
  await handleEvent(parts, event(id, 'expired'))
  assert.equal((await parts.status.get(id))?.status, 'expired')
})

test('an event of a foreign id is dropped, one that cannot be looked up comes again', async (t) => {
  const parts = embedded(t)
  const foreign = createJobIds(Buffer.from('another secret')).issue(new Date())
  for (const id of [foreign, '../../etc', '']) await handleEvent(parts, event(id, 'failed'))
  const { id } = await submit(parts, apple)
  const images = { ...parts.images, getManifest: async () => storageIsAway() }
  await assert.rejects(handleEvent({ ...parts, images }, event(id, 'failed')), { code: 'unavailable' })
})
