import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, quickGenerator, runDeps, storageIsAway, workUntil } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { filesOfZip } from '../../../test/kit/zip.ts'
import { anonymousCaller } from '../caller.ts'
import { AppError } from '../errors.ts'
import { deleteJob } from '../serving/delete.ts'
import type { RunDeps } from '../working/run.ts'
import { createCatalogues } from './catalogues.ts'
import { runDocuments } from './documents.ts'
import { type Feeder, type FeederTimes, startFeeder } from './feeder.ts'
import type { CatalogueView } from './view.ts'

const caller = anonymousCaller('192.0.2.1')
const options = { caller, base: 'https://studio.example' }
const quick: FeederTimes = { stepMs: 10, lookMs: 20, holdSeconds: 0.2 }
const csv = 'sku,title\nA-1,a red apple\nB-2,a green pear\nC-3,a blue vase\n'
const template = { prompt: '{title} on white' }

type Parts = ReturnType<typeof embedded>

/** A run that is fed and worked on until `done` says so. */
async function until(
  parts: Parts,
  id: string,
  done: (view: CatalogueView) => boolean,
  deps: Partial<RunDeps> = {},
) {
  const feeder = parts.catalogues.start(quick)
  let view = await parts.catalogues.view(id, caller)
  try {
    await workUntil(parts, runDeps(parts, deps), async () => {
      view = await parts.catalogues.view(id, caller)
      return done(view)
    })
  } finally {
    await feeder.stop()
  }
  return view
}

const isFinished = ({ status }: CatalogueView) => status === 'finished'

/** Prompts of pictures that were made, in order. */
function counting() {
  const made: string[] = []
  const generator = quickGenerator((step, prompt) => {
    if (/broken/.test(prompt))
      throw new AppError('out_of_memory', 'There is not enough memory.', { attempts: 1 })
    if (step === 1) made.push(prompt)
  })
  return { made, generator }
}

suite('catalogue runs', () => {
  test('makes each row and variant once, under its own name, with a manifest and a ZIP', async (t) => {
    const parts = embedded(t)
    const { made, generator } = counting()
    const body = { csv, template, variants: 2, name: '{sku}-{variant}' }
    const accepted = await parts.catalogues.create(body, options)
    assert.deepEqual(
      [accepted.status, accepted.rows, accepted.pictures, accepted.counts.waiting],
      ['running', 3, 6, 6],
    )
    const view = await until(parts, accepted.id, isFinished, { generator })
    assert.deepEqual(view.counts, { waiting: 0, running: 0, succeeded: 6, failed: 0, canceled: 0 })
    assert.equal(made.length, 6)

    const { rows } = await parts.catalogues.items(view.id, caller, {})
    assert.deepEqual(
      rows.map(({ file }) => file),
      ['A-1-1.png', 'A-1-2.png', 'B-2-1.png', 'B-2-2.png', 'C-3-1.png', 'C-3-2.png'],
    )
    assert.equal(new Set(rows.map(({ seed }) => seed)).size, 6)
    const files = filesOfZip(await buffer(await parts.catalogues.zip(view.id, caller, options.base)))
    assert.deepEqual([...files.keys()], [...rows.map(({ file }) => file), 'manifest.csv'])
    for (const { file, seed } of rows) assert.equal(String(files.get(file)), `picture of seed ${seed}`)
    const [header, first] = String(files.get('manifest.csv')).split('\r\n')
    assert.equal(header, 'file,row,variant,status,seed,link,sha256,bytes,error')
    const [one] = rows
    assert.equal(
      first,
      `A-1-1.png,1,1,succeeded,${one?.seed},https://studio.example${one?.link},${one?.sha256},${one?.bytes},`,
    )
    assert.deepEqual(await parts.images.openRuns(), [])
  })

  test('is kept with its pictures until it expires, and not a moment less because other results are', async (t) => {
    const parts = embedded(t)
    const { id, expires_at } = await parts.catalogues.create({ csv, template }, options)
    await until(parts, id, isFinished)
    const { rows } = await parts.catalogues.items(id, caller, {})
    const job = rows[0]?.job ?? ''
    parts.clock.ahead = Date.parse(expires_at) - Date.now() - 60_000
    await parts.images.sweep(parts.now())
    assert.equal((await parts.catalogues.view(id, caller)).status, 'finished')
    assert.notEqual(await parts.images.getImage(job, 0, 'png'), undefined)
    assert.equal((await parts.images.getManifest(job))?.expires_at, expires_at)
    parts.clock.ahead += 120_000
    await assert.rejects(parts.catalogues.view(id, caller), { code: 'expired' })
    await parts.images.sweep(parts.now())
    assert.deepEqual(await parts.images.allRuns(), [])
    assert.equal(await parts.images.getManifest(job), undefined)
  })

  test('a server that dies at any write leaves a run that the next one ends, with no picture made twice', async (t) => {
    for (let dies = 1; dies < 12; dies += 1) {
      const parts = embedded(t)
      const { made, generator } = counting()
      const { id } = await parts.catalogues.create({ csv, template, variants: 2 }, options)
      let writes = 0
      const dying = () => {
        writes += 1
        if (writes >= dies) storageIsAway()
      }
      const images = {
        ...parts.images,
        putRunFile: async (...file: Parameters<typeof parts.images.putRunFile>) => {
          dying()
          await parts.images.putRunFile(...file)
        },
      }
      const queue = {
        ...parts.queue,
        publish: async (task: Parameters<typeof parts.queue.publish>[0]) => {
          await parts.queue.publish(task)
          dying()
        },
      }
      const first = feederOf({ ...parts, images, queue })
      lastFirst(t).after(() => first.stop())
      await workUntil(parts, runDeps(parts, { generator }), async () => {
        const { status } = await parts.catalogues.view(id, caller)
        return writes > dies || status === 'finished'
      })
      await first.stop()
      const view = await until(parts, id, isFinished, { generator })
      assert.equal(view.counts.succeeded, 6, `died at write ${dies}`)
      assert.deepEqual([made.length, new Set(made).size], [6, 3])
    }
  })

  test('two servers that feed a run at once make nothing twice', async (t) => {
    const parts = embedded(t)
    const { made, generator } = counting()
    const { id } = await parts.catalogues.create({ csv, template, variants: 8 }, options)
    // none knows of the other
    const status = { ...parts.status, noted: async () => undefined, turn: async () => true }
    const both = [feederOf({ ...parts, status }), feederOf({ ...parts, status })]
    for (const each of both) lastFirst(t).after(() => each.stop())
    await workUntil(parts, runDeps(parts, { generator }), async () =>
      isFinished(await parts.catalogues.view(id, caller)),
    )
    for (const each of both) await each.stop()
    assert.equal(made.length, 24)
  })

  test('names what failed, and makes only that again', async (t) => {
    const parts = embedded(t)
    const { made, generator } = counting()
    const broken = csv.replace('a green pear', 'a broken pear')
    const { id } = await parts.catalogues.create({ csv: broken, template, name: '{sku}' }, options)
    const view = await until(parts, id, isFinished, { generator })
    assert.deepEqual([view.counts.succeeded, view.counts.failed], [2, 1])
    assert.deepEqual(view.failures, [
      {
        row: 2,
        variant: 1,
        file: 'B-2.png',
        error: { code: 'out_of_memory', message: 'There is not enough memory.' },
      },
    ])
    const failed = await parts.catalogues.items(id, caller, { status: 'failed' })
    assert.deepEqual(
      failed.rows.map(({ file, status }) => [file, status]),
      [['B-2.png', 'failed']],
    )
    const again = await parts.catalogues.control(id, caller, 'retry')
    assert.deepEqual([again.status, again.counts.waiting, again.counts.succeeded], ['running', 1, 2])
    const last = await until(parts, id, isFinished)
    assert.deepEqual(last.counts, { waiting: 0, running: 0, succeeded: 3, failed: 0, canceled: 0 })
    assert.equal(made.length, 2)
    assert.equal((await parts.catalogues.control(id, caller, 'retry')).status, 'finished')
  })

  test('pauses, resumes, cancels, and makes the rest after a retry', async (t) => {
    const parts = embedded(t)
    const { id } = await parts.catalogues.create({ csv, template, variants: 8 }, options)
    const control = (wanted: 'pause' | 'resume' | 'cancel' | 'retry') =>
      parts.catalogues.control(id, caller, wanted)
    assert.equal((await control('pause')).status, 'paused')
    const feeder = parts.catalogues.start(quick)
    lastFirst(t).after(() => feeder.stop())
    await control('resume')
    // nobody works: what is submitted stays
    await waitFor(async () => (await parts.catalogues.view(id, caller)).counts.running === 8)
    // one that counts may be on its way to the queue yet; the rest waits in the run
    await waitFor(async () => (await parts.queue.depth()) === 8)
    assert.equal((await control('cancel')).status, 'canceling')
    await waitFor(async () => (await parts.catalogues.view(id, caller)).status === 'canceled')
    await feeder.stop()
    assert.equal(await parts.queue.depth(), 0)
    await assert.rejects(control('resume'), { code: 'not_ready' })
    assert.deepEqual((await parts.catalogues.view(id, caller)).counts.canceled, 24)
    await control('retry')
    assert.equal((await until(parts, id, isFinished)).counts.succeeded, 24)
  })

  test('a ZIP names pictures that were deleted, ends early if the storage fails, and closes what a client left', async (t) => {
    const parts = embedded(t)
    const { id } = await parts.catalogues.create(
      { csv: `${csv}=1+1,a plum\n`, template, name: '{sku}' },
      options,
    )
    await until(parts, id, isFinished)
    const { rows } = await parts.catalogues.items(id, caller, {})
    await deleteJob(parts, rows[1]?.job ?? '', caller.name)
    const files = filesOfZip(await buffer(await parts.catalogues.zip(id, caller, '')))
    assert.deepEqual([...files.keys()], ['A-1.png', 'C-3.png', '=1+1.png', 'manifest.csv'])
    const lines = String(files.get('manifest.csv')).split('\r\n')
    assert.match(lines[2] ?? '', /^B-2\.png,2,1,deleted,\d+,,/)
    assert.match(lines[4] ?? '', /^'=1\+1\.png,/, 'no formula')

    let opened = 0
    const bodies: Readable[] = []
    const images: typeof parts.images = {
      ...parts.images,
      async openImage(...picture) {
        opened += 1
        if (opened === 2) storageIsAway()
        const file = await parts.images.openImage(...picture)
        if (file?.body instanceof Readable) bodies.push(file.body)
        return file
      },
    }
    const catalogues = createCatalogues({ ...parts, ...settings, images })
    await assert.rejects(buffer(await catalogues.zip(id, caller, '')), { code: 'unavailable' })
    const left = await catalogues.zip(id, caller, '')
    await waitFor(async () => bodies.length > 1)
    left.destroy()
    await waitFor(async () => bodies.every(({ closed }) => closed))
  })

  test('waits while its caller has no more room, and says why', async (t) => {
    const parts = embedded(t)
    const { id } = await parts.catalogues.create({ csv, template }, options)
    let full = true
    const space = {
      take: async () => {
        if (full) throw new AppError('rate_limited', 'You have too much.', { retryAfterSeconds: 0.01 })
      },
    }
    const feeder = feederOf({ ...parts, space })
    lastFirst(t).after(() => feeder.stop())
    await waitFor(
      async () => (await parts.catalogues.view(id, caller)).held_up?.message === 'You have too much.',
    )
    full = false
    await waitFor(async () => (await parts.catalogues.view(id, caller)).counts.running === 3)
    await feeder.stop()
    const view = await until(parts, id, isFinished)
    assert.deepEqual([view.counts.succeeded, view.held_up], [3, undefined])
  })

  test('a deleted run is gone at once, and its pictures and prompts soon', async (t) => {
    const parts = embedded(t)
    const { id } = await parts.catalogues.create({ csv, template }, options)
    await until(parts, id, isFinished)
    const { rows } = await parts.catalogues.items(id, caller, {})
    await parts.catalogues.remove(id, caller)
    await assert.rejects(parts.catalogues.view(id, caller), { code: 'deleted' })
    const feeder = parts.catalogues.start(quick)
    lastFirst(t).after(() => feeder.stop())
    await waitFor(async () => (await parts.images.openRuns()).length === 0)
    await feeder.stop()
    for (const { job = '' } of rows) {
      assert.equal(await parts.images.getImage(job, 0, 'png'), undefined)
      assert.equal((await parts.images.getManifest(job))?.request.prompt, '')
    }
    assert.equal(await parts.images.getRunFile(id, 'items-0000.json.gz'), undefined)
    await assert.rejects(parts.catalogues.view(id, caller), { code: 'deleted' })
  })

  test('a repeated key finds its run, another caller finds none, and unfinished runs are bounded', async (t) => {
    const parts = embedded(t)
    const keyed = { ...options, idempotencyKey: 'a key of sixteen characters'.replaceAll(' ', '-') }
    const { id } = await parts.catalogues.create({ csv, template }, keyed)
    assert.equal((await parts.catalogues.create({ csv, template }, keyed)).id, id)
    await assert.rejects(parts.catalogues.create({ csv, template, variants: 2 }, keyed), {
      code: 'idempotency_key_reused',
    })
    const other = { ...caller, name: 'shop', account: 'shop' }
    await assert.rejects(parts.catalogues.view(id, other), { code: 'not_found' })
    const own = await parts.catalogues.create({ csv, template }, { ...options, caller: other })
    assert.deepEqual(
      (await parts.catalogues.list(other)).map((view) => view.id),
      [own.id],
    )
    assert.deepEqual(await parts.catalogues.list(caller), [])
    await parts.catalogues.create({ csv, template }, options)
    await parts.catalogues.create({ csv, template }, options)
    await assert.rejects(parts.catalogues.create({ csv, template }, options), { code: 'rate_limited' })
  })

  test('announces its end once per end, with the same id if it is repeated', async (t) => {
    const parts = embedded(t)
    const announced: { id: string; data: unknown }[] = []
    const webhooks = {
      accept: (_caller: unknown, { url, base }: { url?: string; base: string }) =>
        url === undefined ? undefined : { url, base },
      announce: async (event: { id: string; data: unknown }) => {
        announced.push(event)
        if (announced.length === 1) storageIsAway()
      },
    }
    const deps = { ...parts, ...settings, webhooks }
    const catalogues = createCatalogues(deps)
    const { id } = await catalogues.create({ csv, template, webhook: 'https://shop.example/hook' }, options)
    const feeder = catalogues.start(quick)
    lastFirst(t).after(() => feeder.stop())
    await workUntil(
      parts,
      runDeps(parts),
      async () => announced.length >= 2 && (await parts.images.openRuns()).length === 0,
    )
    assert.equal(announced.length, 2)
    await feeder.stop()
    const [first, second] = announced
    assert.deepEqual(first, second)
    assert.match(first?.id ?? '', /^evt_[0-9a-z]{26}_finished_0$/)
    assert.deepEqual((first as { data: { id: string } }).data.id, id)
  })
})

const settings = {
  catalogueTtlSeconds: 7 * 3600,
  catalogueLimits: { rows: 1000, pictures: 2000, bytes: 2 ** 20, runs: 3 },
  callerNamed: (name: string, account: string) => ({ ...caller, name, account }),
}

/** A server's feeder over other parts than those of the test. */
function feederOf(parts: Parts): Feeder {
  return startFeeder({ ...parts, ...settings, documents: runDocuments(parts.images) }, quick)
}
