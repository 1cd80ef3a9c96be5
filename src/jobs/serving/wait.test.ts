import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embedded, runDeps, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { AppError } from '../errors.ts'
import { watchJobs } from './wait.ts'

/** Longer than any test: such a wait is ended by what the test is about. */
const long = 600_000
const apple = { prompt: 'an apple' }

test('many waits for a job end when it is final, on one look at the status store for all of them', async (t) => {
  const parts = embedded(t)
  let looks = 0
  const status: typeof parts.status = {
    ...parts.status,
    get: (id) => {
      looks += 1
      return parts.status.get(id)
    },
  }
  let manifests = 0
  const images: typeof parts.images = {
    ...parts.images,
    getManifest: (id) => {
      manifests += 1
      return parts.images.getManifest(id)
    },
  }
  const watch = watchJobs({ ...parts, status, images })
  const { id } = await submit(parts, apple)
  const waits = Array.from({ length: 50 }, () => watch.untilFinal(id, { ms: long }))
  while (looks < 53) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(manifests, 0, 'storage is not read for a job that is known to wait')
  assert.ok(looks < 100, `50 at the start, and then one a round: ${looks}`)
  await workUntil(parts, runDeps(parts), async () => (await parts.status.get(id))?.status === 'succeeded')
  const views = await Promise.all(waits)
  assert.deepEqual(new Set(views.map((view) => view.status)), new Set(['succeeded']))
  assert.equal(views[0]?.images.length, 1)
})

test('news of a job ends its waits at once, and a wait for a final job does not begin', async (t) => {
  const parts = embedded(t)
  const watch = watchJobs(parts, { tickMs: long })
  const { id } = await submit(parts, apple)
  const waiting = watch.untilFinal(id, { ms: long })
  await workUntil(parts, runDeps(parts), async () => (await parts.status.get(id))?.status === 'succeeded')
  watch.changed(id)
  assert.equal((await waiting).status, 'succeeded')
  assert.equal((await watch.untilFinal(id, { ms: long })).status, 'succeeded')
})

test('a wait ends with its time, with its signal, with the watch, and where too many wait', async (t) => {
  const parts = embedded(t)
  const watch = watchJobs(parts, { mostWaits: 2 })
  const { id } = await submit(parts, apple)
  assert.equal((await watch.untilFinal(id, { ms: 1 })).status, 'queued')
  const leaving = new AbortController()
  const [left, closed] = [
    watch.untilFinal(id, { ms: long, signal: leaving.signal }),
    watch.untilFinal(id, { ms: long }),
  ]
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal((await watch.untilFinal(id, { ms: long })).status, 'queued', 'a third is answered at once')
  leaving.abort()
  assert.equal((await left).status, 'queued')
  watch.close()
  assert.equal((await closed).status, 'queued')
  assert.equal((await watch.untilFinal(id, { ms: long })).status, 'queued')
})

test('a wait ends although the status store never learned of the end, or is unavailable', async (t) => {
  const parts = embedded(t)
  const away = async () => {
    throw new AppError('unavailable', 'The status store is unavailable.')
  }
  for (const status of [
    { ...parts.status, get: away },
    { ...parts.status, doubtful: () => true },
  ]) {
    const { id } = await submit(parts, apple)
    const waiting = watchJobs({ ...parts, status }).untilFinal(id, { ms: long })
    const deps = runDeps(parts, { status: { ...parts.status, advance: away } })
    await workUntil(parts, deps, async () => (await parts.images.getManifest(id)) !== undefined)
    assert.equal((await waiting).status, 'succeeded')
  }
})

test('an id that was never issued, and one whose time is over, are refused as without a wait', async (t) => {
  const parts = embedded(t)
  await assert.rejects(parts.watch.untilFinal('x', { ms: long }), { code: 'not_found' })
  const { id } = await submit(parts, apple)
  parts.clock.ahead = 3_700_000
  await assert.rejects(parts.watch.untilFinal(id, { ms: long }), { code: 'expired' })
})
