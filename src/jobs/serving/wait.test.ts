import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embedded, runDeps, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { AppError } from '../errors.ts'
import type { JobView } from './job-view.ts'
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

/** Reads what a follower gets, as the statuses, steps and previews in it. */
async function seenBy(views: AsyncIterable<JobView>): Promise<string[]> {
  const seen: string[] = []
  for await (const { status, progress, preview } of views) {
    seen.push([status, progress?.step, preview?.index].filter((each) => each !== undefined).join(' '))
  }
  return seen
}

const whenever = new AbortController().signal

test('a follower gets the job as it is, each change, and last the end; all get the same objects', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  const watch = watchJobs(parts, { tickMs: 10 })
  const follow = () => watch.follow(id, { signal: whenever })
  const [one, other] = [follow(), follow()]
  const first = await one.next()
  assert.equal(first.value?.status, 'queued')
  assert.equal((await other.next()).value, first.value)
  const rest = seenBy(other)
  await parts.status.advance(id, { status: 'running', progress: { step: 1, steps: 4 } })
  const second = await one.next()
  assert.deepEqual(second.value?.progress, { step: 1, steps: 4 })
  await parts.status.advance(id, { status: 'running', preview: 1 })
  assert.equal((await one.next()).value?.preview?.index, 1)
  await workUntil(parts, runDeps(parts), async () => (await parts.status.get(id))?.status === 'succeeded')
  const seen = await rest
  assert.deepEqual(seen.slice(0, 2), ['running 1', 'running 1 1'])
  assert.equal(seen.at(-1), 'succeeded')
  const late = await seenBy(one)
  assert.equal(late.at(-1), 'succeeded')
  assert.deepEqual(await seenBy(follow()), ['succeeded'], 'a job that is final has nothing but its end')
})

test('a follower that does not read gets the newest state only', async (t) => {
  const parts = embedded(t)
  const { id } = await submit(parts, apple)
  const watch = watchJobs(parts, { tickMs: 10 })
  const slow = watch.follow(id, { signal: whenever })
  const quick = watch.follow(id, { signal: whenever })
  await Promise.all([slow.next(), quick.next()])
  for (const step of [1, 2, 3]) {
    await parts.status.advance(id, { status: 'running', progress: { step, steps: 4 } })
    assert.equal((await quick.next()).value?.progress?.step, step)
  }
  assert.equal((await slow.next()).value?.progress?.step, 3)
  await Promise.all([slow.return(), quick.return()])
})

test('the number of followers costs no look: looks and views are those of the jobs', async (t) => {
  const parts = embedded(t)
  const counts = { get: 0, ahead: 0, manifests: 0 }
  const status: typeof parts.status = {
    ...parts.status,
    get: (id) => {
      counts.get += 1
      return parts.status.get(id)
    },
    ahead: (id) => {
      counts.ahead += 1
      return parts.status.ahead(id)
    },
  }
  const images: typeof parts.images = {
    ...parts.images,
    getManifest: (id) => {
      counts.manifests += 1
      return parts.images.getManifest(id)
    },
  }
  const { id } = await submit(parts, apple)
  const watch = watchJobs({ ...parts, status, images }, { tickMs: 10 })
  const all = Array.from({ length: 300 }, () => seenBy(watch.follow(id, { signal: whenever })))
  await waitFor(async () => counts.get >= 5)
  assert.equal(counts.manifests, 0, 'storage is not read for a job that is known to wait')
  await workUntil(parts, runDeps(parts), async () => (await parts.status.get(id))?.status === 'succeeded')
  assert.deepEqual(new Set((await Promise.all(all)).map((seen) => seen.at(-1))), new Set(['succeeded']))
  assert.equal(counts.manifests, 1)
  assert.ok(counts.get < 100 && counts.ahead < 100, JSON.stringify(counts))
})

test('following ends with its signal, with the watch, with an expired job, and is bounded', async (t) => {
  const parts = embedded(t)
  const watch = watchJobs(parts, { tickMs: 10, mostFollowers: 3, mostOfAccount: 2 })
  const { id } = await submit(parts, apple)
  const leaving = new AbortController()
  const left = watch.follow(id, { signal: leaving.signal, account: 'ann' })
  const kept = watch.follow(id, { signal: whenever, account: 'ann' })
  await Promise.all([left.next(), kept.next()])
  const third = watch.follow(id, { signal: whenever, account: 'ann' })
  await assert.rejects(third.next(), { code: 'rate_limited', retryAfterSeconds: 5 })
  const others = watch.follow(id, { signal: whenever, account: 'bob' })
  await others.next()
  await assert.rejects(watch.follow(id, { signal: whenever, account: 'cy' }).next(), { code: 'unavailable' })
  const ending = left.next()
  leaving.abort()
  assert.equal((await ending).done, true)
  await others.return()
  await assert.rejects(watch.follow('x', { signal: whenever }).next(), { code: 'not_found' })

  const closed = kept.next()
  watch.close()
  assert.equal((await closed).done, true)
  assert.equal((await seenBy(watch.follow(id, { signal: whenever }))).length, 1, 'the state, and no more')

  const { id: brief } = await submit(parts, apple)
  const expiring = watchJobs(parts, { tickMs: 10 }).follow(brief, { signal: whenever, account: 'bob' })
  await expiring.next()
  const over = expiring.next()
  parts.clock.ahead = 3_700_000
  await assert.rejects(over, { code: 'expired' })
})

test('following ends right although the status store never learned of the end, or is unavailable', async (t) => {
  const parts = embedded(t)
  const away = async () => {
    throw new AppError('unavailable', 'The status store is unavailable.')
  }
  const { id } = await submit(parts, apple)
  const watch = watchJobs({ ...parts, status: { ...parts.status, get: away } }, { tickMs: 10 })
  const seen = seenBy(watch.follow(id, { signal: whenever }))
  const deps = runDeps(parts, { status: { ...parts.status, advance: away } })
  await workUntil(parts, deps, async () => (await parts.images.getManifest(id)) !== undefined)
  watch.changed(id)
  assert.deepEqual(await seen, ['queued', 'succeeded'])
})
