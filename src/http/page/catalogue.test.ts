import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { ballPng } from '../../../test/browser/png.ts'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { filesOfZip } from '../../../test/kit/zip.ts'
import { anonymousCaller } from '../../jobs/caller.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'
import { readProducts } from './catalogue-list.ts'

/** The page of catalogue runs as a visitor without JavaScript has it, and the fragments of one with it. */

/** Works on a run, by its address, to its end. @returns its id */
async function untilFinished(parts: ReturnType<typeof embedded>, address: string): Promise<string> {
  const feeder = parts.catalogues.start({ stepMs: 10, lookMs: 20, holdSeconds: 0.2 })
  const id = address.split('/').at(-1) ?? ''
  await workUntil(parts, runDeps(parts), async () => {
    const { status } = await parts.catalogues.view(id, anonymousCaller('127.0.0.1'))
    return status === 'finished'
  })
  await feeder.stop()
  return id
}

async function studio(t: TestContext) {
  const parts = embedded(t)
  const services = createServices(parts, () => true)
  const app = await buildHttp({
    services,
    log: pino({ level: 'silent' }),
    trustedProxies: '127.0.0.1',
  })
  lastFirst(t).after(() => app.close())
  const post = (url: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      payload: new URLSearchParams(fields).toString(),
    })
  const get = async (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers })
  return { parts, app, post, get }
}

const form = {
  list: 'sku,title\r\nA-1,a red <apple>\r\nB-2,a pear\r\n',
  prompt: '{title}',
  name: '{sku}',
  variants: '1',
}

suite('the page of catalogue runs', () => {
  test('starts a run, shows its lines as they fill, and offers its files', async (t) => {
    const { parts, post, get } = await studio(t)
    assert.match((await get('/')).body, /href="\/catalogues"/)
    assert.match((await get('/catalogues')).body, /Check the list and start/)
    const started = await post('/catalogues', form)
    assert.equal(started.statusCode, 303, started.body)
    const address = String(started.headers.location)
    const before = (await get(address)).body
    assert.match(before, /0 of 2 are there/)
    assert.match(before, /a red &#60;apple&#62;/)
    assert.match(before, /<noscript><meta http-equiv="refresh"/)
    const id = await untilFinished(parts, address)
    const fragment = { 'hx-request': 'true' }
    const state = (await get(`${address}/state`, fragment)).body
    assert.match(state, /Done/)
    assert.doesNotMatch(state, /hx-trigger|Pause/)
    assert.match(state, new RegExp(`href="/v1/catalogues/${id}/pictures.zip"`))
    const lines = (await get(`${address}/lines?cursor=0`, fragment)).body
    assert.equal(lines.split('src="/v1/pictures/').length, 3)
    assert.doesNotMatch(lines, /hx-trigger/)
    const proxied = await get(`/v1/catalogues/${id}/rows`, { 'x-forwarded-prefix': '/studio' })
    assert.match(proxied.json().rows[0].link, /^\/studio\/v1\/pictures\//)
  })

  test('shows the faults of a list and keeps what was typed', async (t) => {
    const { post } = await studio(t)
    const answer = await post('/catalogues', {
      ...form,
      name: '../{sku}',
      list: 'sku,title\r\nA-1,a mug\r\nB-2,a pear\r\n',
    })
    assert.equal(answer.statusCode, 422)
    assert.match(answer.body, /2 faults: nothing was started/)
    assert.match(answer.body, /Row 2: The file name/)
    assert.match(answer.body, /value="\.\.\/\{sku\}"/)
    const empty = await post('/catalogues', { ...form, list: '' })
    assert.deepEqual([empty.statusCode, /The list is empty/.test(empty.body)], [422, true])
    const foreign = await post('/catalogues', form, { 'sec-fetch-site': 'cross-site' })
    assert.equal(foreign.statusCode, 403)
  })

  test('makes each product in each ticked set and look, as the studio would, and names files by them', async (t) => {
    const { parts, post, get } = await studio(t)
    const look = {
      look_name: 'Soft / warm',
      prompt: 'x',
      negative_prompt: 'text',
      steps: '7',
      seed: '5',
      many: 'two',
    }
    const saved = await post('/looks', look)
    const cookie = saved.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
    const asked = (await get('/catalogues', { cookie })).body
    assert.match(asked, /name="look:Soft \/ warm"/)
    assert.match(asked, /name="set:pure" value="1" checked/)
    const fields = {
      list: 'A-1; a red mug, large\n\na pear',
      prompt: '{product}',
      name: '{sku}_{set}_{seed}',
      variants: '1',
      finish_preset: 'amazon_main',
      'set:pure': '1',
      'set:wood': '1',
      'look:Soft / warm': '1',
    }
    const unknown = await post('/catalogues', { ...fields, 'look:Gone': '1' }, { cookie })
    assert.match(unknown.body, /The look .{1,6}Gone.{1,6} is not saved any more/)
    const odd = await post('/catalogues', { ...fields, 'set:moon': '1' }, { cookie })
    assert.deepEqual([odd.statusCode, /background must be empty or one of/.test(odd.body)], [422, true])
    const started = await post('/catalogues', fields, { cookie })
    assert.equal(started.statusCode, 303, started.body.slice(started.body.indexOf('<main')))
    const address = String(started.headers.location)
    const page = (await get(address, { cookie })).body
    assert.match(page, /2 products × 2 sets &#61; 4 pictures|2 products × 2 sets = 4 pictures/)
    const { rows } = (await get(`/v1${address}/rows`)).json()
    assert.deepEqual(
      rows.map(({ row, set, prompt }: Record<string, unknown>) => [row, set, prompt]),
      [
        [1, 'Soft-warm-pure', 'a red mug, large, on a white background, soft light'],
        [1, 'Soft-warm-wood', 'a red mug, large, on a wooden table'],
        [2, 'Soft-warm-pure', 'a pear, on a white background, soft light'],
        [2, 'Soft-warm-wood', 'a pear, on a wooden table'],
      ],
    )
    await untilFinished(parts, address)
    const job = (await get(`/v1/jobs/${(await get(`/v1${address}/rows`)).json().rows[0].job}`)).json()
    const { steps, negative_prompt, finish, format } = job.request
    assert.deepEqual([steps, negative_prompt, format], [7, 'text', 'jpeg'])
    assert.deepEqual([finish.preset, finish.background, finish.width], ['amazon_main', '#ffffff', 1600])
    const zip = filesOfZip((await get(`/v1${address}/pictures.zip`)).rawPayload)
    const names = rows.map(
      ({ row, set, seed }: Record<string, unknown>) => `${row === 1 ? 'A-1' : '2'}_${set}_${seed}.jpg`,
    )
    assert.deepEqual([...zip.keys()], [...names, 'manifest.csv'])
    assert.match(String(zip.get('manifest.csv')), /^file,.*,error,set\r\n.*,Soft-warm-pure\r\n/)
  })

  test('lists runs in the workspace of the visitor, and nobody else in theirs', async (t) => {
    const { parts, post, get } = await studio(t)
    const started = await post('/catalogues', form)
    const cookie = started.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
    const mine = (await get('/catalogues', { cookie })).body
    assert.match(mine, new RegExp(`href="${started.headers.location}">2 pictures, `))
    assert.match((await get('/catalogues')).body, /Nothing yet/)
    const other = await post('/looks', { look_name: 'x', prompt: 'x' })
    const theirs = other.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
    assert.match((await get('/catalogues', { cookie: theirs })).body, /Nothing yet/)
    const id = String(started.headers.location).split('/').at(-1) ?? ''
    await parts.catalogues.remove(id, anonymousCaller('127.0.0.1'))
    assert.match((await get('/catalogues', { cookie })).body, /Nothing yet/)
    parts.status.shelved = async () => {
      throw new Error('the store is away')
    }
    assert.match((await get('/catalogues', { cookie })).body, /cannot be read at the moment/)
  })

  test('a line with a photo keeps its product; a photo that was not chosen is a fault of its line', async (t) => {
    const { post, get, app } = await studio(t)
    const uploaded = await app.inject({
      method: 'POST',
      url: '/v1/uploads',
      headers: { 'content-type': 'image/png' },
      payload: Buffer.from(ballPng(64, 64)),
    })
    const fields = { ...form, list: 'M-1; a mug; mug.jpg\nP-2; a pear', prompt: '{product}', 'set:wood': '1' }
    const missing = await post('/catalogues', { ...fields, photos: '{"mug.png": 5}' })
    assert.equal(missing.statusCode, 422)
    assert.match(missing.body, /Row 1: the photo .{1,6}mug.jpg.{1,6} was not chosen/)
    assert.match(missing.body, /name="set:wood" value="1" checked/)
    assert.doesNotMatch(missing.body, /name="set:pure" value="1" checked/)
    const photos = JSON.stringify({ 'mug.jpg': uploaded.json().id })
    const started = await post('/catalogues', { ...fields, photos })
    assert.equal(started.statusCode, 303, started.body.slice(started.body.indexOf('<main')))
    const { rows } = (await get(`/v1${started.headers.location}/rows`)).json()
    assert.deepEqual(
      rows.map(({ prompt }: { prompt: string }) => prompt),
      ['a mug, on a wooden table', 'a pear, on a wooden table'],
    )
  })

  test('reads lists as people write them', async () => {
    const read = async (list: string, texts: string[] = ['{product}']) =>
      (await readProducts(list, { texts, photos: {}, mostRows: 3 })).rows.map(({ sku, product }) => [
        sku,
        product,
      ])
    assert.deepEqual(await read('a pear, ripe\r\n\n  a mug '), [
      ['1', 'a pear, ripe'],
      ['2', 'a mug'],
    ])
    assert.deepEqual(await read('A;a pear\n;a mug'), [
      ['A', 'a pear'],
      ['2', 'a mug'],
    ])
    assert.deepEqual(await read('SKU,Title\nA,a pear'), [['A', 'a pear']])
    assert.deepEqual(await read('Artikel;Was\nA;a pear', ['{Was}']), [['1', 'a pear']])
    assert.deepEqual(await read('name\ttitle\nx\ta pear'), [['1', 'a pear']])
    await assert.rejects(read(' \n'), /The list is empty/)
    await assert.rejects(read('a\nb\nc\nd'), /at most 3 rows/)
    await assert.rejects(read('sku;product\nA;'), /Row 1 names no product/)
    await assert.rejects(read('sku,title\n"A,a pear'), /A quote is opened and not closed/)
  })

  test('pauses, resumes and cancels by buttons that need no script', async (t) => {
    const { post, get } = await studio(t)
    const address = String((await post('/catalogues', form)).headers.location)
    assert.deepEqual([(await post(`${address}/pause`, {})).headers.location], [address])
    assert.match((await get(address)).body, /Paused: 0 of 2/)
    const resumed = await post(`${address}/resume`, {}, { 'hx-request': 'true' })
    assert.match(resumed.body, /^<section class="card run-state"/)
    assert.equal((await post(`${address}/cancel`, {}, { 'sec-fetch-site': 'cross-site' })).statusCode, 403)
    assert.match((await post(`${address}/cancel`, {}, { 'hx-request': 'true' })).body, /Stopping/)
    assert.equal((await get('/catalogues/none')).statusCode, 404)
  })
})
