import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { Priority } from '../../src/jobs/fields.ts'
import type { Task } from '../../src/jobs/job.ts'
import type { ListPlace, StatusStore } from '../../src/jobs/ports.ts'
import { workUnits } from '../../src/jobs/work.ts'
import { waitFor } from '../kit/waiting.ts'
import { someRequest, someTask, testIds } from './jobs.ts'

/**
 * What every StatusStore promises. `start` answers an empty one, removed after the test. `forgets`: by `sweep`, or by
 * itself some time after a job's expiry.
 */
export function statusStoreContract(
  name: string,
  start: (t: TestContext) => Promise<StatusStore>,
  forgets: 'by sweep' | 'by itself',
): void {
  suite(`${name} as StatusStore`, () => {
    test('remembers a new job as queued', async (t) => {
      const store = await start(t)
      const task = someTask()
      await store.create(task)
      const { id, request, created_at, expires_at } = task
      const units = workUnits(request)
      const state = { id, status: 'queued', request, created_at, expires_at, units }
      assert.deepEqual(await store.get(id), state)
      assert.equal(await store.get(someTask().id), undefined)
    })

    test('leaves a job that is known as it is', async (t) => {
      const store = await start(t)
      const task = someTask()
      await store.create(task)
      await store.advance(task.id, { status: 'running' })
      assert.equal((await store.create(task)).status, 'running')
      assert.equal((await store.get(task.id))?.status, 'running')
    })

    test('of two requests under one id it keeps one, and tells both which', async (t) => {
      const store = await start(t)
      const first = someTask({ sent: 'a', account: 'ann', units: 3 })
      const second = { ...first, sent: 'b', request: someRequest({ prompt: 'a pear' }) }
      const standing = await Promise.all([store.create(first), store.create(second)])
      const kept = standing[0]?.sent === 'a' ? first : second
      for (const state of standing) {
        assert.deepEqual([state.sent, state.request], [kept.sent, kept.request])
        assert.deepEqual([state.account, state.units], ['ann', 3])
      }
      assert.deepEqual(await store.get(first.id), standing[0])
    })

    test('counts the unfinished jobs of an account and their work, up to a limit', async (t) => {
      const store = await start(t)
      const most = { jobs: 3, units: 10 }
      const task = (units: number) => someTask({ account: 'ann', units })
      const reserve = ({ id, units = 0 }: Task) => store.reserve({ id, account: 'ann', units }, most)
      const [first, second, third] = [task(4), task(5), task(1)]
      assert.equal(await reserve(first), undefined)
      await store.create(first)
      assert.equal(await reserve(second), undefined)
      assert.equal(await reserve(second), undefined, 'the same job counts once')
      assert.deepEqual(await reserve(task(2)), { jobs: 2, units: 9 }, 'too much work')
      assert.equal(await reserve(third), undefined)
      assert.deepEqual(await reserve(task(0)), { jobs: 3, units: 10 }, 'too many jobs')
      const other = { id: someTask().id, account: 'bob', units: 9 }
      assert.equal(await store.reserve(other, most), undefined, 'another account')
      await store.release({ id: second.id, account: 'ann', units: 5 })
      await store.advance(first.id, { status: 'succeeded' })
      assert.equal(await reserve(task(9)), undefined)
    })

    test('lists the jobs that run and wait, in their order', async (t) => {
      const store = await start(t)
      const tasks = ['batch', 'interactive', 'interactive', 'interactive'].map((priority) =>
        someTask({ priority: priority as Priority, account: 'ann' }),
      )
      const [batch, waiting, running, done] = tasks as [Task, Task, Task, Task]
      for (const task of tasks) await store.create(task)
      await store.advance(running.id, { status: 'running' })
      await store.advance(done.id, { status: 'succeeded' })
      const ids = async (most: number) => (await store.unfinished(most)).map(({ id }) => id)
      assert.deepEqual(await ids(100), [running.id, waiting.id, batch.id])
      assert.deepEqual(await ids(2), [running.id, waiting.id])
    })

    test('lists the jobs of one account, newest first, page by page', async (t) => {
      const store = await start(t)
      const now = Date.now()
      // two of them in the same millisecond
      const tasks = [50, 40, 40, 30, 20].map((ago) => {
        const created = new Date(now - ago)
        return someTask({
          ...{ id: testIds.issue(created, 'ann'), caller: 'ann', account: 'a' },
          created_at: created.toISOString(),
        })
      })
      const [, canceled, , running] = tasks as [Task, Task, Task, Task]
      for (const task of tasks) await store.create(task)
      await store.create(someTask({ caller: 'bob', account: 'b' }))
      const old = new Date(now - 7_200_000).toISOString()
      await store.create(someTask({ caller: 'ann', account: 'a', created_at: old, expires_at: old }))
      await store.advance(running.id, { status: 'running' })
      await store.advance(canceled.id, { status: 'canceled' })
      const newestFirst = [...tasks].sort((a, b) => (a.created_at + a.id < b.created_at + b.id ? 1 : -1))
      const seen: string[] = []
      let after: ListPlace | undefined
      do {
        const { states, next } = await store.list('a', { most: 2, ...(after && { after }) })
        assert.ok(states.length <= 2)
        seen.push(...states.map(({ id }) => id))
        after = next
      } while (after !== undefined)
      assert.deepEqual(
        seen,
        newestFirst.map(({ id }) => id),
      )
      const some = await store.list('a', { most: 10, statuses: ['running', 'canceled'] })
      assert.deepEqual(
        some.states.map(({ id, status }) => [id, status]),
        [
          [running.id, 'running'],
          [canceled.id, 'canceled'],
        ],
      )
      await store.forget(running.id)
      const rest = await store.list('a', { most: 10 })
      assert.equal(rest.states.length, 4)
      assert.deepEqual((await store.list('nobody', { most: 10 })).states, [])
    })

    test('keeps the newest preview of a job that runs', async (t) => {
      const store = await start(t)
      const { id } = await store.create(someTask())
      for (const preview of [1, 2]) await store.advance(id, { status: 'running', preview })
      await store.advance(id, { status: 'running', progress: { step: 1, steps: 4 } })
      assert.equal((await store.get(id))?.preview, 2)
    })

    test('forgets a job', async (t) => {
      const store = await start(t)
      const task = someTask({ account: 'ann' })
      await store.create(task)
      await store.advance(task.id, { status: 'succeeded' })
      for (let count = 0; count < 2; count++) await store.forget(task.id)
      assert.equal(await store.get(task.id), undefined)
    })

    test('a job of any size is allowed to an account that has none', async (t) => {
      const store = await start(t)
      const job = { id: someTask().id, account: 'ann', units: 1000 }
      assert.equal(await store.reserve(job, { units: 10 }), undefined)
    })

    test('allows no more than the limit to many at once', async (t) => {
      const store = await start(t)
      const jobs = Array.from({ length: 20 }, () => ({ id: someTask().id, account: 'ann', units: 1 }))
      const held = await Promise.all(jobs.map((job) => store.reserve(job, { jobs: 5 })))
      assert.equal(held.filter((each) => each === undefined).length, 5)
    })

    test('moves a job forward only', async (t) => {
      const store = await start(t)
      const task = someTask()
      await store.create(task)
      const status = async () => (await store.get(task.id))?.status
      await store.advance(task.id, { status: 'running' })
      await store.advance(task.id, { status: 'queued' })
      assert.equal(await status(), 'running')
      await store.advance(task.id, { status: 'succeeded' })
      await store.advance(task.id, { status: 'running', progress: { step: 1, steps: 4 } })
      await store.advance(task.id, { status: 'failed', error: { code: 'timeout', message: 'too late' } })
      assert.deepEqual([await status(), (await store.get(task.id))?.error], ['succeeded', undefined])
      await store.advance(task.id, { status: 'expired' })
      assert.equal(await status(), 'expired')
    })

    test('changes nothing for an unknown job', async (t) => {
      const store = await start(t)
      const { id } = someTask()
      await store.advance(id, { status: 'running' })
      assert.equal(await store.get(id), undefined)
    })

    test('keeps progress, start and error', async (t) => {
      const store = await start(t)
      const task = someTask()
      await store.create(task)
      const started_at = new Date().toISOString()
      await store.advance(task.id, { status: 'running', started_at })
      await store.advance(task.id, { status: 'running', progress: { step: 1, steps: 4 } })
      await store.advance(task.id, { status: 'running', progress: { step: 2, steps: 4 } })
      const running = await store.get(task.id)
      assert.deepEqual([running?.progress, running?.started_at], [{ step: 2, steps: 4 }, started_at])
      const error = { code: 'timeout', message: 'It took too long.' }
      await store.advance(task.id, { status: 'failed', error })
      assert.deepEqual((await store.get(task.id))?.error, error)
    })

    test('keeps a cancellation, also one from before the job was known', async (t) => {
      const store = await start(t)
      const [known, unknown] = [someTask(), someTask()]
      await store.create(known)
      await store.requestCancel(known.id)
      await store.requestCancel(unknown.id)
      await store.requestCancel(unknown.id)
      await store.create(unknown)
      assert.equal((await store.get(known.id))?.cancel_requested, true)
      assert.equal((await store.get(unknown.id))?.cancel_requested, true)
    })

    test('tells the place of a waiting job and the work ahead of it', async (t) => {
      const store = await start(t)
      const request = someRequest({ steps: 10 })
      const tasks = [someTask({ request }), someTask({ request }), someTask({ request })]
      for (const task of tasks) await store.create(task)
      const [first, second, third] = tasks.map((task) => task.id) as [string, string, string]
      const unit = workUnits(request)
      assert.deepEqual(await store.ahead(first), { jobs: 0, units: 0 })
      assert.equal((await store.ahead(third))?.jobs, 2)
      await store.advance(first, { status: 'running', progress: { step: 5, steps: 10 } })
      assert.equal(await store.ahead(first), undefined)
      const left = (await store.ahead(third))?.units ?? 0
      assert.ok(
        left > 1.4 * unit && left < 2.1 * unit,
        `about half of the first and the whole second, not ${left}`,
      )
      await store.advance(first, { status: 'succeeded' })
      await store.advance(second, { status: 'canceled' })
      assert.deepEqual(await store.ahead(third), { jobs: 0, units: 0 })
      assert.equal(await store.ahead(someTask().id), undefined)
    })

    test('is not fooled by what comes late or twice', async (t) => {
      const store = await start(t)
      const [done, waiting] = [someTask(), someTask()]
      await store.create(done)
      await store.create(waiting)
      await store.advance(done.id, { status: 'running', progress: { step: 1, steps: 4 } })
      await store.advance(done.id, { status: 'running' })
      assert.deepEqual((await store.get(done.id))?.progress, { step: 1, steps: 4 })
      await store.advance(done.id, { status: 'succeeded' })
      await store.create(done)
      await store.advance(done.id, { status: 'running' })
      assert.equal((await store.get(done.id))?.status, 'succeeded')
      assert.deepEqual(await store.ahead(waiting.id), { jobs: 0, units: 0 })
    })

    test('tells the place by turns of the accounts', async (t) => {
      const store = await start(t)
      const create = async (account: string, count: number) => {
        const tasks = Array.from({ length: count }, () => someTask({ account }))
        for (const task of tasks) await store.create(task)
        return tasks.map(({ id }) => id)
      }
      const many = await create('ann', 20)
      const [first, second] = (await create('bob', 2)) as [string, string]
      const jobs = async (id: string | undefined) => (await store.ahead(id ?? ''))?.jobs ?? -1
      // of two with the same turn either may come first
      const about = async (id: string | undefined, place: number) =>
        assert.ok([place - 1, place].includes(await jobs(id)), `${await jobs(id)} for ${place}`)
      await about(first, 1)
      await about(second, 3)
      await about(many[0], 1)
      await about(many[1], 3)
      assert.equal(await jobs(many[19]), 21)
      const units = (await store.ahead(first))?.units ?? 0
      assert.ok(units <= 2 * workUnits(someRequest()), `${units} units`)
      await store.advance(many[0] ?? '', { status: 'running' })
      await store.advance(many[5] ?? '', { status: 'canceled' })
      await about(first, 2)
      assert.equal(await jobs(many[19]), 20)
      await store.advance(second, { status: 'canceled' })
      await store.advance(first, { status: 'succeeded' })
      assert.equal(await jobs(many[19]), 18)
    })

    test('puts batch jobs behind interactive ones', async (t) => {
      const store = await start(t)
      const batch = [someTask({ priority: 'batch' }), someTask({ priority: 'batch' })]
      const interactive = [someTask(), someTask()]
      for (const task of [...batch, ...interactive]) await store.create(task)
      const places = await Promise.all(
        [...interactive, ...batch].map(async ({ id }) => (await store.ahead(id))?.jobs),
      )
      assert.deepEqual(places, [0, 1, 2, 3])
      await store.advance((batch[0] as { id: string }).id, { status: 'running' })
      assert.equal((await store.ahead((interactive[0] as { id: string }).id))?.jobs, 1)
    })

    test('tells what waits and runs of each class, and since when', async (t) => {
      const store = await start(t)
      const none = { jobs: 0, running: 0, units: 0, oldestSeconds: 0 }
      assert.deepEqual(await store.backlog(), { interactive: none, batch: none })
      const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString()
      const task = (units: number, changes: Partial<Task> = {}) =>
        someTask({ units, created_at: ago(1), ...changes })
      const [first, second, third] = [task(4), task(5), task(7, { priority: 'batch' })]
      for (const each of [first, second, third]) await store.create(each)
      assert.equal((await store.get(third.id))?.priority, 'batch')
      await waitFor(async () => (await store.backlog()).batch.oldestSeconds > 0)
      const { interactive, batch } = await store.backlog()
      assert.deepEqual([interactive.jobs, interactive.units, batch.jobs, batch.units], [2, 9, 1, 7])
      assert.ok(interactive.oldestSeconds > 0 && interactive.oldestSeconds < 3600)
      // what runs counts with what is left of it, and waits no longer
      await store.advance(third.id, { status: 'running', progress: { step: 1, steps: 4 } })
      await store.advance(first.id, { status: 'canceled' })
      const later = await store.backlog()
      assert.deepEqual(later.batch, { jobs: 1, running: 1, units: 5.25, oldestSeconds: 0 })
      assert.deepEqual([later.interactive.jobs, later.interactive.units], [1, 5])
      await store.advance(second.id, { status: 'failed' })
      await store.advance(third.id, { status: 'succeeded' })
      assert.deepEqual(await store.backlog(), { interactive: none, batch: none })
    })

    test('gives a turn to one of many, and again when its time is over', async (t) => {
      const store = await start(t)
      const turns = await Promise.all(Array.from({ length: 8 }, () => store.turn('sweep', 300)))
      assert.equal(turns.filter((turn) => turn === true).length, 1)
      assert.equal(await store.turn('something else', 300), true)
      await new Promise((resolve) => setTimeout(resolve, 400))
      assert.equal(await store.turn('sweep', 300), true)
    })

    test('keeps a text under a name until its time is over, and whose a job is', async (t) => {
      const store = await start(t)
      assert.equal(await store.noted('a'), undefined)
      await store.note('a', 'one', 60)
      await store.note('a', 'two "\u00e9"', 60)
      await store.note('b', 'short', 0.05)
      assert.equal(await store.noted('a'), 'two "\u00e9"')
      await waitFor(async () => (await store.noted('b')) === undefined)
      const webhook = { url: 'https://shop.example/hook', base: 'https://packshot.example' }
      const task = { ...someTask(), caller: 'ann', sent: 'hash', webhook }
      await store.create(task)
      const { caller, sent, webhook: kept } = (await store.get(task.id)) ?? {}
      assert.deepEqual([caller, sent, kept], ['ann', 'hash', webhook])
    })

    test('keeps small texts in lists, newest first, bounded in number and time', async (t) => {
      const store = await start(t)
      const keep = { most: 3, seconds: 60 }
      const ids = async (list = 'a') => (await store.shelved(list, 60)).map(({ id }) => id)
      assert.deepEqual(await store.shelved('a', 60), [])
      for (const [at, id] of ['one', 'two', 'three', 'four'].entries()) {
        await store.shelve('a', { id, at, text: `"${id}" \u00e9` }, keep)
      }
      assert.deepEqual(await store.shelved('a', 60), [
        { id: 'four', at: 3, text: '"four" \u00e9' },
        { id: 'three', at: 2, text: '"three" \u00e9' },
        { id: 'two', at: 1, text: '"two" \u00e9' },
      ])
      await store.shelve('a', { id: 'three', at: 2, text: 'changed' }, keep)
      assert.equal((await store.shelved('a', 60))[1]?.text, 'changed')
      await store.shelve('b', { id: 'other', at: 9, text: '' }, { most: 3, seconds: 0.05 })
      await store.unshelve('a', ['four', 'nothing'])
      await store.unshelve('a', [])
      assert.deepEqual(await ids(), ['three', 'two'])
      await waitFor(async () => (await store.shelved('b', 0.001)).length === 0)
      await store.shelve('b', { id: 'new', at: 1, text: '' }, keep)
      assert.deepEqual(await ids('b'), ['new'], 'nothing of a list whose time was over comes back')
    })

    test('knows workers by their heartbeats, and their speed', async (t) => {
      const store = await start(t)
      assert.deepEqual(await store.load(), { workers: 0, secondsPerUnit: undefined })
      await store.heartbeat('one', undefined)
      assert.deepEqual(await store.load(), { workers: 1, secondsPerUnit: undefined })
      await store.heartbeat('one', 2)
      await store.heartbeat('two', 4)
      assert.deepEqual(await store.load(), { workers: 2, secondsPerUnit: 3 })
      await store.heartbeat('one', undefined)
      assert.deepEqual(await store.load(), { workers: 2, secondsPerUnit: 3 })
    })

    test('forgets jobs that expired long ago', async (t) => {
      const store = await start(t)
      const day = 86_400_000
      const old = someTask({ expires_at: new Date(Date.now() - day).toISOString() })
      const young = someTask()
      await store.create(old)
      await store.create(young)
      await store.sweep(new Date())
      if (forgets === 'by sweep') assert.equal(await store.get(old.id), undefined)
      assert.notEqual(await store.get(young.id), undefined)
    })
  })
}
