import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { suite, type TestContext, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { imageFormats } from '../../src/jobs/fields.ts'
import type { ImageStore, StoredFile } from '../../src/jobs/ports.ts'
import { someManifest, someTask, testIds } from './jobs.ts'

/**
 * What every ImageStore promises. `start` returns a way to open stores with a TTL of one hour on one location.
 * `atomic`: of commits at once exactly one wins. A store without conditional writes can only make that likely.
 */
export function imageStoreContract(
  name: string,
  start: (t: TestContext) => Promise<() => ImageStore>,
  { atomic = true } = {},
): void {
  suite(`${name} as ImageStore`, () => {
    test('keeps pictures by job and index', async (t) => {
      const store = (await start(t))()
      const { id } = someTask()
      assert.equal(await store.getImage(id, 0, 'png'), undefined)
      await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
      await store.putImage(id, 1, 'png', Uint8Array.of(4))
      assert.deepEqual([...((await store.getImage(id, 0, 'png')) ?? [])], [1, 2, 3])
      assert.deepEqual([...((await store.getImage(id, 1, 'png')) ?? [])], [4])
      assert.equal(await store.getImage(someTask().id, 0, 'png'), undefined)
    })

    test('opens pictures and uploads for an answer, with their length', async (t) => {
      const store = (await start(t))()
      const { id } = someTask()
      const uploaded = testIds.issue(new Date())
      assert.equal(await store.openImage(id, 0, 'png'), undefined)
      assert.equal(await store.openUpload(uploaded), undefined)
      await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
      await store.putUpload(uploaded, Uint8Array.of(4, 5))
      assert.deepEqual(await contentOf(await store.openImage(id, 0, 'png')), [3, [1, 2, 3]])
      assert.deepEqual(await contentOf(await store.openUpload(uploaded)), [2, [4, 5]])
    })

    test('keeps files of every format apart, and sweeps them', async (t) => {
      const store = (await start(t))()
      const now = Date.now()
      const id = testIds.issue(new Date(now - 3_600_001))
      for (const [index, format] of imageFormats.entries()) {
        await store.putImage(id, 0, format, Uint8Array.of(index))
      }
      for (const [index, format] of imageFormats.entries()) {
        assert.deepEqual([...((await store.getImage(id, 0, format)) ?? [])], [index])
      }
      const expires_at = new Date(now - 1).toISOString()
      await store.commit(someManifest(someTask({ id, expires_at })))
      assert.equal(await store.sweep(new Date(now)), 1)
      for (const format of imageFormats) assert.equal(await store.getImage(id, 0, format), undefined)
    })

    test('keeps the original beside a finished picture, and deletes and sweeps it with it', async (t) => {
      const store = (await start(t))()
      const now = Date.now()
      const image = { index: 0, width: 8, height: 8, seed: 7, bytes: 1, sha256: '', original: 2 }
      const made = async (age: number, left: number) => {
        const id = testIds.issue(new Date(now - age))
        const task = someTask({ id, expires_at: new Date(now + left).toISOString() })
        await store.putImage(id, 0, 'png', Uint8Array.of(1))
        await store.putImage(id, 0, 'original', Uint8Array.of(2, 3))
        return store.commit(someManifest(task, { images: [image] }))
      }
      const [young, old] = [await made(0, 3_600_000), await made(3_600_001, -1)]
      assert.deepEqual([...((await store.getImage(young.id, 0, 'png')) ?? [])], [1])
      assert.deepEqual(await contentOf(await store.openImage(young.id, 0, 'original')), [2, [2, 3]])
      assert.equal(await store.sweep(new Date(now)), 1)
      assert.equal(await store.getImage(old.id, 0, 'original'), undefined)
      assert.notEqual(await store.getImage(young.id, 0, 'original'), undefined)
      const deleted_at = new Date(now).toISOString()
      await store.purge({ ...young, images: [], deleted_at }, young)
      assert.equal(await store.getImage(young.id, 0, 'original'), undefined)
    })

    test('replaces the picture of an earlier attempt', async (t) => {
      const store = (await start(t))()
      const { id } = someTask()
      await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
      await store.putImage(id, 0, 'png', Uint8Array.of(9))
      assert.deepEqual([...((await store.getImage(id, 0, 'png')) ?? [])], [9])
    })

    test('lets the first of two manifests win, and answers it', async (t) => {
      const open = await start(t)
      const task = someTask()
      const first = someManifest(task, { status: 'canceled' })
      assert.equal(await open().getManifest(task.id), undefined)
      assert.deepEqual(await open().commit(first), first)
      assert.deepEqual(await open().commit(someManifest(task)), first)
      assert.deepEqual(await open().getManifest(task.id), first)
    })

    test(`lets ${atomic ? 'exactly one of many commits' : 'one of many commits'} at once win`, async (t) => {
      const open = await start(t)
      const task = someTask()
      const stores = Array.from({ length: 16 }, () => open())
      const manifests = stores.map((_, i) => someManifest(task, { attempts: i }))
      const answers = await Promise.all(stores.map((store, i) => store.commit(manifests[i] ?? assert.fail())))
      const standing = await open().getManifest(task.id)
      assert.ok(manifests.some((manifest) => isDeepStrictEqual(manifest, standing)))
      assert.deepEqual(await open().commit(someManifest(task, { attempts: 99 })), standing)
      if (!atomic) return
      assert.deepEqual(
        answers,
        answers.map(() => standing),
      )
    })

    test('sweeps jobs whose time is over, and no others', async (t) => {
      const store = (await start(t))()
      const now = Date.now()
      const over = someTask({
        id: testIds.issue(new Date(now - 3_600_001)),
        expires_at: new Date(now - 1).toISOString(),
      })
      const valid = someTask()
      for (const task of [over, valid]) {
        await store.putImage(task.id, 0, 'png', Uint8Array.of(1))
        await store.commit(someManifest(task))
      }
      assert.equal(await store.sweep(new Date(now)), 1)
      assert.equal(await store.getManifest(over.id), undefined)
      assert.equal(await store.getImage(over.id, 0, 'png'), undefined)
      assert.notEqual(await store.getManifest(valid.id), undefined)
      assert.notEqual(await store.getImage(valid.id, 0, 'png'), undefined)
    })

    test('sweeps the pictures of a job that never finished, once it is too old to finish', async (t) => {
      const store = (await start(t))()
      const old = testIds.issue(new Date(Date.now() - 2 * 3_600_000 - 1))
      const young = testIds.issue(new Date())
      for (const id of [old, young]) await store.putImage(id, 0, 'png', Uint8Array.of(1))
      await store.sweep(new Date())
      assert.equal(await store.getImage(old, 0, 'png'), undefined)
      assert.notEqual(await store.getImage(young, 0, 'png'), undefined)
    })

    test('keeps a job for as long as it was promised, though the setting is shorter now', async (t) => {
      const store = (await start(t))()
      const promised = someTask({
        id: testIds.issue(new Date(Date.now() - 2 * 3_600_000 - 1)),
        expires_at: new Date(Date.now() + 3_600_000).toISOString(),
      })
      await store.commit(someManifest(promised))
      assert.equal(await store.sweep(new Date()), 0)
      assert.notEqual(await store.getManifest(promised.id), undefined)
    })

    test('keeps uploads apart from jobs, until no job can wait for them', async (t) => {
      const store = (await start(t))()
      const now = Date.now()
      const hour = 3_600_000
      const issue = (age: number) => testIds.uploads.issue(new Date(now - age))
      // jobs may name it for an hour, the last of them may wait another, plus an hour for clock differences
      const [fresh, named, over] = [issue(0), issue(2 * hour), issue(3 * hour + 1000)]
      assert.equal(await store.getUpload(fresh), undefined)
      for (const id of [fresh, named, over]) await store.putUpload(id, Uint8Array.of(1, 2))
      assert.deepEqual([...((await store.getUpload(over)) ?? [])], [1, 2])
      assert.equal(await store.getImage(fresh, 0, 'png'), undefined)
      assert.equal(await store.getManifest(fresh), undefined)
      assert.equal(await store.sweep(new Date(now)), 0, 'an upload is no job')
      assert.equal(await store.getUpload(over), undefined)
      assert.deepEqual([...((await store.getUpload(fresh)) ?? [])], [1, 2])
      assert.deepEqual([...((await store.getUpload(named)) ?? [])], [1, 2])
    })

    test('deletes the pictures of a job and keeps a tombstone until it would have expired', async (t) => {
      const store = (await start(t))()
      const now = Date.now()
      const task = someTask({
        id: testIds.issue(new Date(now - 3_500_000)),
        expires_at: new Date(now + 100_000).toISOString(),
      })
      const { id } = task
      const image = { width: 8, height: 8, seed: 7, bytes: 1, sha256: '' }
      const manifest = someManifest(task, { images: [0, 1].map((index) => ({ index, ...image })) })
      for (const index of [0, 1]) await store.putImage(id, index, 'png', Uint8Array.of(1))
      await store.commit(manifest)
      const deleted_at = new Date(now).toISOString()
      const tombstone = { ...manifest, images: [], request: { ...task.request, prompt: '' }, deleted_at }
      for (let count = 0; count < 2; count++) await store.purge(tombstone, manifest)
      for (const index of [0, 1]) assert.equal(await store.getImage(id, index, 'png'), undefined)
      assert.deepEqual(await store.getManifest(id), tombstone)
      assert.deepEqual(await store.commit(manifest), tombstone, 'a late worker does not bring it back')
      assert.equal(await store.sweep(new Date(now + 100_001)), 1)
      assert.equal(await store.getManifest(id), undefined)
    })

    test('deletes an upload, and reads the beginning of one', async (t) => {
      const store = (await start(t))()
      const [long, short] = [testIds.uploads.issue(new Date()), testIds.uploads.issue(new Date())]
      await store.putUpload(
        long,
        Uint8Array.from({ length: 5000 }, (_, index) => index % 251),
      )
      await store.putUpload(short, Uint8Array.of(1, 2))
      const head = (await store.getUploadHead(long)) ?? new Uint8Array()
      assert.ok(head.length >= 33 && [...head].every((byte, index) => byte === index % 251))
      assert.deepEqual([...((await store.getUploadHead(short)) ?? [])], [1, 2])
      for (let count = 0; count < 2; count++) await store.deleteUpload(long)
      assert.deepEqual([await store.getUpload(long), await store.getUploadHead(long)], [undefined, undefined])
      assert.notEqual(await store.getUpload(short), undefined)
    })

    test('keeps documents of runs, and which runs are open', async (t) => {
      const open = await start(t)
      const store = open()
      const now = Date.now()
      const issue = (age: number) => testIds.catalogues.issue(new Date(now - age))
      const [old, young] = [issue(3_600_001), issue(0)]
      const [first, second] = ['summary.json', 'items-0000.json.gz']
      assert.equal(await store.getRunFile(young, first), undefined)
      assert.deepEqual([await store.allRuns(), await store.openRuns()], [[], []])
      for (const id of [young, old]) {
        for (const name of [first, second]) await store.putRunFile(id, name, Buffer.from(name))
        for (let count = 0; count < 2; count++) await store.markRun(id, true)
      }
      await store.putRunFile(young, first, Uint8Array.of(7))
      assert.deepEqual([...((await open().getRunFile(young, first)) ?? [])], [7])
      assert.equal(Buffer.from((await store.getRunFile(old, second)) ?? []).toString(), second)
      assert.deepEqual(await store.allRuns(), [old, young])
      assert.deepEqual((await open().openRuns()).sort(), [old, young])
      assert.equal(await store.getManifest(young), undefined, 'a run is no job')

      for (let count = 0; count < 2; count++) await store.markRun(young, false)
      assert.deepEqual(await store.openRuns(), [old])
      for (let count = 0; count < 2; count++) await store.deleteRunFiles(young, [second, 'control.json'])
      assert.equal(await store.getRunFile(young, second), undefined)
      assert.equal(await store.sweep(new Date(now)), 0)
      assert.deepEqual([await store.allRuns(), await store.openRuns()], [[young], []])
      assert.equal(await store.getRunFile(old, first), undefined)
      for (const name of ['', '..', '../x.json', 'a/b.json', 'A.json', 'x']) {
        await assert.rejects(store.putRunFile(young, name, Uint8Array.of(1)), { code: 'not_found' })
        await assert.rejects(store.getRunFile('..', first), { code: 'not_found' })
      }
    })

    test('keeps pictures for good, by owner, whatever is swept', async (t) => {
      const open = await start(t)
      const store = open()
      const now = Date.now()
      const [old, young] = [testIds.issue(new Date(now - 9e10)), testIds.issue(new Date(now))]
      const files = (byte: number) =>
        ({ format: 'webp', picture: Uint8Array.of(byte, 2), document: Buffer.from(`{"v":${byte}}`) }) as const
      assert.deepEqual(await store.listKept('ann'), [])
      for (const id of [`${young}-0`, `${old}-10`, `${old}-0`]) await store.putKept('ann', id, files(1))
      await store.putKept('bob', `${old}-0`, files(7))
      await store.putKept('ann', `${old}-0`, files(9))
      assert.equal(await store.sweep(new Date(now + 9e11)), 0)
      const listed = await open().listKept('ann')
      assert.deepEqual(
        listed.map(({ id, whole }) => [id, whole]),
        [`${old}-0`, `${old}-10`, `${young}-0`].map((id) => [id, true]),
      )
      assert.ok(listed.every(({ at }) => Math.abs(at.getTime() - now) < 3_600_000))
      assert.equal(Buffer.from((await store.getKept('ann', `${old}-0`)) ?? []).toString(), '{"v":9}')
      assert.deepEqual(await contentOf(await store.openKept('bob', `${old}-0`, 'webp')), [2, [7, 2]])
      assert.equal(await store.openKept('bob', `${old}-0`, 'png'), undefined)
      assert.equal(await store.getManifest(old), undefined, 'it is no job')

      for (let count = 0; count < 2; count++) await store.deleteKept('ann', `${old}-0`)
      assert.equal(await store.getKept('ann', `${old}-0`), undefined)
      assert.equal(await store.openKept('ann', `${old}-0`, 'webp'), undefined)
      assert.notEqual(await store.getKept('bob', `${old}-0`), undefined)
      assert.equal((await store.listKept('ann')).length, 2)
      assert.deepEqual(await store.measure(), { uploads: 0, results: 3 * 9 })
      for (const [owner, id] of [
        ['', `${old}-0`],
        ['..', `${old}-0`],
        ['a/b', `${old}-0`],
        ['ann', old],
        ['ann', '..'],
        ['ann', `${old}-00`],
        ['ann', `../bob/${old}-0`],
      ] as const) {
        await assert.rejects(store.putKept(owner, id, files(1)), { code: 'not_found' })
        await assert.rejects(store.getKept(owner, id), { code: 'not_found' })
        await assert.rejects(store.deleteKept(owner, id), { code: 'not_found' })
      }
    })

    test('says how much it holds', async (t) => {
      const store = (await start(t))()
      assert.deepEqual(await store.measure(), { uploads: 0, results: 0 })
      await store.putUpload(testIds.uploads.issue(new Date()), new Uint8Array(1000))
      await store.putImage(someTask().id, 0, 'png', new Uint8Array(2000))
      await store.putImage(someTask().id, 1, 'webp', new Uint8Array(500))
      assert.deepEqual(await store.measure(), { uploads: 1000, results: 2500 })
      const free = await store.freeBytes()
      assert.ok(free === undefined || free > 0)
    })

    test('refuses what is no job id', async (t) => {
      const store = (await start(t))()
      for (const id of ['', '..', '../../etc', 'x'.repeat(42), `${'0'.repeat(40)}/.`]) {
        await assert.rejects(store.putImage(id, 0, 'png', Uint8Array.of(1)), { code: 'not_found' })
        await assert.rejects(store.getManifest(id), { code: 'not_found' })
        await assert.rejects(store.putUpload(id, Uint8Array.of(1)), { code: 'not_found' })
        await assert.rejects(store.getUpload(id), { code: 'not_found' })
      }
    })
  })
}

async function contentOf(file: StoredFile | undefined): Promise<unknown> {
  assert.ok(file)
  const { bytes, body } = file
  return [bytes, [...(body instanceof Readable ? await buffer(body) : body)]]
}
