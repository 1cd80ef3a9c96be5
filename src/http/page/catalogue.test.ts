import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { embedded, runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { anonymousCaller } from '../../jobs/caller.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** The page of catalogue runs as a visitor without JavaScript has it, and the fragments of one with it. */

async function studio(t: TestContext) {
  const parts = embedded(t)
  const services = createServices(parts, () => true)
  const app = await buildHttp({
    services,
    log: pino({ level: 'silent' }),
    trustedProxies: '127.0.0.1',
  })
  t.after(() => app.close())
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
    const feeder = parts.catalogues.start({ stepMs: 10, lookMs: 20, holdSeconds: 0.2 })
    const id = address.split('/').at(-1) ?? ''
    await workUntil(parts, runDeps(parts), async () => {
      const { status } = await parts.catalogues.view(id, anonymousCaller('127.0.0.1'))
      return status === 'finished'
    })
    await feeder.stop()
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
      list: 'sku,title\r\nA-1,\r\nB-2,a pear\r\n',
    })
    assert.equal(answer.statusCode, 422)
    assert.match(answer.body, /3 faults: nothing was started/)
    assert.match(answer.body, /Row 1: prompt must be text/)
    assert.match(answer.body, /value="\.\.\/\{sku\}"/)
    const empty = await post('/catalogues', { ...form, list: '' })
    assert.deepEqual([empty.statusCode, /The list is empty/.test(empty.body)], [422, true])
    const foreign = await post('/catalogues', form, { 'sec-fetch-site': 'cross-site' })
    assert.equal(foreign.statusCode, 403)
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
