import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { someManifest, someTask, testIds } from '../../../test/contract/jobs.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freshPlace, keysOf, opened } from '../../../test/services/fresh-place.ts'
import { storage } from '../../../test/services/services.ts'
import type { Bucket } from './bucket.ts'
import { s3ImageStore } from './image-store.ts'
import { imageKey, manifestKey } from './keys.ts'

const ttlSeconds = 3600
const day = 86_400_000
const now = new Date()
const daysAgo = (days: number) => new Date(now.getTime() - days * day)

async function open(t: TestContext) {
  return opened(t, freshPlace(t, await storage(), keepingLog()))
}

/** A job created at that time: one picture and, if it finished, a manifest that expires an hour later. */
async function job(bucket: Bucket, at: Date, finished = true): Promise<string> {
  const created_at = at.toISOString()
  const expires_at = new Date(at.getTime() + ttlSeconds * 1000).toISOString()
  const task = someTask({ id: testIds.issue(at), created_at, expires_at })
  const { putImage, commit } = s3ImageStore(bucket, { ttlSeconds })
  await putImage(task.id, 0, 'png', Uint8Array.of(1))
  if (finished) await commit(someManifest(task))
  return task.id
}

/** Counts the requests that a sweep makes, and fails the deletes that a test wants to fail. */
function watched(bucket: Bucket, fails: (key: string) => boolean = () => false) {
  const seen = { pages: 0, reads: 0, deletes: [] as string[] }
  const watching: Bucket = {
    ...bucket,
    async *list(...asked) {
      for await (const page of bucket.list(...asked)) {
        seen.pages += 1
        yield page
      }
    },
    get: (key) => {
      seen.reads += 1
      return bucket.get(key)
    },
    delete: async (key) => {
      seen.deletes.push(key)
      if (fails(key)) throw new Error('not now')
      await bucket.delete(key)
    },
  }
  return { seen, store: s3ImageStore(watching, { ttlSeconds }) }
}

test('deletes what is over, across days, and counts jobs with a manifest', async (t) => {
  const bucket = await open(t)
  for (const days of [400, 3, 3, 2]) await job(bucket, daysAgo(days))
  await job(bucket, daysAgo(3), false)
  const kept = await job(bucket, now)
  assert.equal(await s3ImageStore(bucket, { ttlSeconds }).sweep(now), 4)
  assert.deepEqual(await keysOf(bucket), [imageKey(kept, 0, 'png'), manifestKey(kept)])
  assert.equal(await s3ImageStore(bucket, { ttlSeconds }).sweep(now), 0)
})

test('costs nothing for what is kept', async (t) => {
  const bucket = await open(t)
  await Promise.all(Array.from({ length: 40 }, (_, i) => job(bucket, new Date(now.getTime() - i))))
  const over = await job(bucket, daysAgo(2))
  const { seen, store } = watched(bucket)
  assert.equal(await store.sweep(now), 1)
  assert.equal(seen.reads, 1)
  assert.deepEqual(seen.deletes, [manifestKey(over), imageKey(over, 0, 'png')])
  // two of them for runs
  assert.ok(seen.pages <= 7, `${seen.pages} pages were listed`)
})

test('a listing of several pages is swept to its end, and a job on two pages is one', async (t) => {
  const bucket = await open(t)
  const ids = Array.from({ length: 345 }, (_, i) => testIds.issue(new Date(daysAgo(2).getTime() + i)))
  // 1035 objects of three per job: the first page ends within a job.
  const puts = ids.flatMap((id) => [0, 1, 2].map((index) => imageKey(id, index, 'png')))
  await inParallel(puts, (key) => bucket.put(key, Uint8Array.of(1), 'image/png'))
  const kept = await job(bucket, now)
  const { seen, store } = watched(bucket)
  await store.sweep(now)
  assert.deepEqual(await keysOf(bucket), [imageKey(kept, 0, 'png'), manifestKey(kept)])
  assert.equal(seen.deletes.length, puts.length)
})

test('a job that was promised a longer time is kept until then', async (t) => {
  const bucket = await open(t)
  const at = daysAgo(2)
  const task = someTask({ id: testIds.issue(at), expires_at: new Date(now.getTime() + 1000).toISOString() })
  const store = s3ImageStore(bucket, { ttlSeconds })
  await store.commit(someManifest(task))
  const later = await job(bucket, at)
  assert.equal(await store.sweep(now), 1)
  assert.notEqual(await store.getManifest(task.id), undefined)
  assert.equal(await store.getManifest(later), undefined)
  assert.equal(await store.sweep(new Date(now.getTime() + 1001)), 1)
})

test('an id of an idempotency key, older than its job, does not keep the jobs after it', async (t) => {
  const bucket = await open(t)
  const hour = new Date(Date.UTC(2026, 0, 5, 10))
  const at = new Date(hour.getTime() + ttlSeconds * 1000 + 1_800_000)
  const [fromKey] = testIds.fromKey('ann', 'key', hour)
  await bucket.put(imageKey(fromKey, 0, 'png'), Uint8Array.of(1), 'image/png')
  await job(bucket, new Date(hour.getTime() + 60_000))
  assert.equal(await s3ImageStore(bucket, { ttlSeconds }).sweep(at), 1)
  assert.deepEqual(await keysOf(bucket), [imageKey(fromKey, 0, 'png')])
})

test('objects that are not ours are left alone', async (t) => {
  const bucket = await open(t)
  const id = await job(bucket, daysAgo(3))
  const folder = imageKey(id, 0, 'png').replace(/0\.png$/, '')
  const foreign = [
    'probe/notes.txt',
    'readme.txt',
    `${folder}notes.txt`,
    'results/2020-01-01/holiday/0.png',
    `results/2020-01-01/${id}/0.png`,
    'results/2020-99-99/0.png',
    'results/holiday/0.png',
  ]
  await inParallel(foreign, (key) => bucket.put(key, Uint8Array.of(1), 'image/png'))
  assert.equal(await s3ImageStore(bucket, { ttlSeconds }).sweep(now), 1)
  assert.deepEqual(await keysOf(bucket), foreign.toSorted())
})

test('a damaged manifest goes by the age of its id', async (t) => {
  const bucket = await open(t)
  const [old, young] = [testIds.issue(daysAgo(2)), testIds.issue(now)]
  for (const id of [old, young]) await bucket.put(manifestKey(id), Buffer.from('{'), 'application/json')
  assert.equal(await s3ImageStore(bucket, { ttlSeconds }).sweep(now), 0)
  assert.deepEqual(await keysOf(bucket), [manifestKey(young)])
})

test('a job that cannot be deleted does not keep the others, and is told', async (t) => {
  const bucket = await open(t)
  const stays = await job(bucket, daysAgo(4))
  for (const days of [3, 2]) await job(bucket, daysAgo(days))
  const { store } = watched(bucket, (key) => key === manifestKey(stays))
  await assert.rejects(store.sweep(now), {
    code: 'unavailable',
    message: 'Deleting expired results failed 1 times; 2 jobs were deleted.',
  })
  // The picture of a job whose manifest remains is still shown to users.
  assert.deepEqual(await keysOf(bucket), [imageKey(stays, 0, 'png'), manifestKey(stays)])
})

test('two sweeps at once are harmless', async (t) => {
  const bucket = await open(t)
  await inParallel(Array.from({ length: 30 }), () => job(bucket, daysAgo(2)))
  const stores = Array.from({ length: 2 }, () => s3ImageStore(bucket, { ttlSeconds }))
  await Promise.all(stores.map((store) => store.sweep(now)))
  assert.deepEqual(await keysOf(bucket), [])
})

test('what a start left behind is swept, later', async (t) => {
  const bucket = await open(t)
  await bucket.put(`probe/${'0'.repeat(32)}`, Uint8Array.of(1), 'application/json')
  const store = s3ImageStore(bucket, { ttlSeconds })
  await store.sweep(new Date())
  assert.equal((await keysOf(bucket)).length, 1)
  await store.sweep(new Date(Date.now() + day))
  assert.deepEqual(await keysOf(bucket), [])
})

async function inParallel<T>(items: readonly T[], action: (item: T) => Promise<unknown>): Promise<void> {
  const rest = items.values()
  const work = async () => {
    for (const item of rest) await action(item)
  }
  await Promise.all(Array.from({ length: 32 }, work))
}
