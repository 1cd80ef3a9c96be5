import assert from 'node:assert/strict'
import { rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { runDeps, storageIsAway, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { keyed } from '../../../test/jobs/keyed.ts'
import { sqliteStatusStore } from '../../adapters/sqlite/status-store.ts'
import { anonymousCaller } from '../../jobs/caller.ts'
import { createJobIds } from '../../jobs/job-id.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** Two callers with keys, and jobs of ann. At most three pictures of each are kept. */
async function withKept(t: TestContext) {
  const server = await keyed(t, { usual: {} })
  const { app, parts, keyOf } = server
  const as = async (name: string, method: 'GET' | 'POST' | 'DELETE' | 'HEAD', url: string, headers = {}) =>
    app.inject({ method, url, headers: { authorization: `Bearer ${keyOf(name)}`, ...headers } })
  const take = async (count = 1) => {
    const ann = { ...anonymousCaller('127.0.0.1'), name: 'ann', account: 'ann' }
    const { id } = await submit(parts, { prompt: 'an apple', count, seed: 7 }, { caller: ann })
    return id
  }
  const made = async (count = 1) => {
    const id = await take(count)
    await workUntil(parts, runDeps(parts), async () => (await parts.status.get(id))?.status === 'succeeded')
    return id
  }
  const keep = (id: string, index = 0, name = 'ann') =>
    as(name, 'POST', `/v1/jobs/${id}/images/${index}/keep`)
  return { ...server, as, take, made, keep }
}

test('a kept picture outlives its job, the status store, the sweeper and the secret; it is deleted on its own', async (t) => {
  const { as, made, keep, parts } = await withKept(t)
  const job = await made(2)
  const picture = await as('ann', 'GET', `/v1/jobs/${job}/images/1`)
  const first = await keep(job, 1)
  assert.equal(first.statusCode, 201, first.body)
  const view = first.json()
  assert.equal(first.headers.location, `/v1/kept/${job}-1`)
  assert.deepEqual([view.id, view.job, view.index, view.seed], [`${job}-1`, job, 1, 8])
  const again = await keep(job, 1)
  assert.deepEqual([again.statusCode, again.json()], [200, view])

  parts.clock.ahead = 7_200_000
  await parts.images.sweep(parts.now())
  await parts.status.sweep(parts.now())
  assert.equal((await as('ann', 'GET', `/v1/jobs/${job}`)).statusCode, 410)
  assert.deepEqual((await keep(job, 1)).json(), view, 'kept again after its job expired')
  assert.deepEqual((await as('ann', 'GET', '/v1/kept')).json(), { kept: [view], count: 1, limit: 3 })
  assert.deepEqual((await as('ann', 'GET', view.links.self)).json(), view)

  const kept = await as('ann', 'GET', view.url)
  assert.deepEqual(kept.rawPayload, picture.rawPayload)
  assert.equal(kept.headers['content-type'], picture.headers['content-type'])
  assert.match(String(kept.headers['content-disposition']), /^inline; filename="an-apple-8\.png"/)
  assert.equal(kept.headers['cache-control'], 'private, max-age=86400')
  const etag = String(kept.headers.etag)
  assert.equal(etag, picture.headers.etag)
  assert.equal((await as('ann', 'GET', view.url, { 'if-none-match': etag })).statusCode, 304)
  const head = await as('ann', 'HEAD', view.url)
  assert.deepEqual([head.headers['content-length'], head.body], [String(view.bytes), ''])
  const download = await as('ann', 'GET', `${view.url}?download=1`)
  assert.match(String(download.headers['content-disposition']), /^attachment; /)
  // the stand-in's pictures are none: then the picture itself is there
  const small = await as('ann', 'GET', `/v1/kept/${view.id}/thumbnail`)
  assert.deepEqual([small.statusCode, small.headers.location], [307, view.url])

  // another secret, and nothing but the store
  const elsewhere = { ...parts, ids: createJobIds(Buffer.from('another secret')) }
  const services = createServices(elsewhere, () => true)
  const ann = { ...anonymousCaller(''), name: 'ann' }
  assert.equal((await services.kept.list(ann, { most: 5 })).count, 1)
  assert.deepEqual(await services.kept.view(view.id, ann), view)

  assert.equal((await as('ann', 'DELETE', view.links.self)).statusCode, 204)
  for (const path of ['', '/image', '/thumbnail'])
    assert.equal((await as('ann', 'GET', `/v1/kept/${view.id}${path}`)).statusCode, 404)
  assert.equal((await as('ann', 'DELETE', view.links.self)).statusCode, 404)
  assert.equal((await as('ann', 'GET', '/v1/kept')).json().count, 0)
})

test('what a caller keeps is bounded, in pages, and what a crash left behind does not count for long', async (t) => {
  const { as, made, keep, parts } = await withKept(t)
  const job = await made(4)
  const together = await Promise.all([0, 1, 2, 0, 2, 3].map((index) => keep(job, index)))
  assert.deepEqual(
    together.map(({ statusCode }) => statusCode),
    [201, 201, 201, 200, 200, 409],
    'at the same moment',
  )
  const full = await keep(job, 3)
  assert.deepEqual(
    [full.statusCode, full.json().error.code, full.json().error.param],
    [409, 'kept_full', 'index'],
  )
  assert.match(
    full.json().error.message,
    /At most 3 pictures of one caller are kept for good, and ann has 3: .* PACKSHOT_KEPT_PICTURES\./,
  )
  assert.equal((await keep(job, 2)).statusCode, 200, 'what is kept already')
  const page = (await as('ann', 'GET', '/v1/kept?limit=2')).json()
  assert.deepEqual(
    [page.kept.map(({ index }: { index: number }) => index), page.next, page.count],
    [[2, 1], `${job}-1`, 3],
  )
  const rest = (await as('ann', 'GET', `/v1/kept?limit=2&after=${page.next}`)).json()
  assert.deepEqual([rest.kept.length, rest.next], [1, undefined])
  for (const limit of ['0', '201', 'x', '-1', '1e2']) {
    const answer = await as('ann', 'GET', `/v1/kept?limit=${limit}`)
    assert.deepEqual([answer.statusCode, answer.json().error.param], [400, 'limit'], limit)
  }
  assert.equal((await as('ann', 'GET', '/v1/kept?after=nothing')).statusCode, 200)

  // a crash between file and document
  const folder = join(parts.folder, 'results/kept/ann')
  await rm(join(folder, `${job}-0.json`))
  assert.equal((await as('ann', 'GET', '/v1/kept')).json().count, 2)
  assert.equal((await keep(job, 3)).statusCode, 409, 'somebody may be writing it')
  const old = new Date(Date.now() - 3_700_000)
  await utimes(join(folder, `${job}-0.png`), old, old)
  assert.equal((await keep(job, 3)).statusCode, 201)
  assert.equal((await keep(job, 0)).statusCode, 409)
})

test('only pictures that are there are kept, whole, and by those whose they are', async (t) => {
  const { as, take, made, keep, parts } = await withKept(t)
  const done = await made()
  const waiting = await take()
  const said = async (answer: ReturnType<typeof keep>) => {
    const { statusCode, json } = await answer
    return [statusCode, json().error.code]
  }
  assert.deepEqual(await said(keep(waiting)), [409, 'not_ready'])
  await as('ann', 'POST', `/v1/jobs/${waiting}/cancel`)
  assert.deepEqual(await said(keep(waiting)), [409, 'not_ready'])
  assert.deepEqual(await said(keep(done, 1)), [404, 'not_found'])
  assert.deepEqual(await said(keep('nothing')), [404, 'not_found'])
  assert.deepEqual(await said(keep(done, 0, 'bob')), [404, 'not_found'])
  assert.equal((await as('bob', 'GET', '/v1/kept')).json().count, 0)

  const { getImage, openImage } = parts.images
  parts.images.openImage = async () => ({ bytes: 3, body: Buffer.from('bad') })
  assert.deepEqual(await said(keep(done)), [503, 'unavailable'], 'a damaged file')
  parts.images.openImage = storageIsAway
  assert.deepEqual(await said(keep(done)), [503, 'unavailable'])
  Object.assign(parts.images, { getImage, openImage })
  assert.equal((await as('ann', 'GET', '/v1/kept')).json().count, 0)

  assert.equal((await keep(done)).statusCode, 201)
  await as('ann', 'DELETE', `/v1/jobs/${done}`)
  assert.equal((await as('ann', 'GET', `/v1/kept/${done}-0/image`)).statusCode, 200, 'its job was deleted')
  const deleted = await made()
  await as('ann', 'DELETE', `/v1/jobs/${deleted}`)
  assert.deepEqual(await said(keep(deleted)), [410, 'deleted'])
  const { listKept } = parts.images
  parts.images.listKept = storageIsAway
  assert.deepEqual(await said(as('ann', 'GET', '/v1/kept')), [503, 'unavailable'])
  parts.images.listKept = listKept
})

test('strangers keep nothing, and a setting of 0 keeps nothing more', async (t) => {
  const { made, keep, parts } = await withKept(t)
  const job = await made(2)
  await keep(job)
  const log = pino({ level: 'silent' })
  const open = { ...parts, status: sqliteStatusStore(parts.database) }
  const answers = async (keptLimits: { pictures: number; anonymous: boolean }, name?: string) => {
    const caller = () => ({ ...anonymousCaller('127.0.0.1'), ...(name === undefined ? {} : { name }) })
    const services = createServices({ ...open, keptLimits, caller }, () => true)
    const app = await buildHttp({ services, log })
    lastFirst(t).after(() => app.close())
    const post = await app.inject({ method: 'POST', url: `/v1/jobs/${job}/images/1/keep` })
    const get = await app.inject({ url: '/v1/kept' })
    return { post, get }
  }
  const stranger = await answers({ pictures: 3, anonymous: false })
  for (const answer of [stranger.post, stranger.get]) {
    assert.deepEqual([answer.statusCode, answer.json().error.code], [403, 'forbidden'])
    assert.match(
      answer.json().error.message,
      /for callers with a key: without one nobody could say later whose/,
    )
  }
  const off = await answers({ pictures: 0, anonymous: false }, 'ann')
  assert.equal(off.post.statusCode, 403)
  assert.match(off.post.json().error.message, /PACKSHOT_KEPT_PICTURES=0/)
  assert.equal(off.get.json().count, 1, 'what is there stays')
  const alone = await answers({ pictures: 3, anonymous: true })
  assert.deepEqual([alone.post.statusCode, alone.get.json().count], [404, 0], 'the job is of ann')
})
