import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { embedded } from '../../../test/jobs/embedded.ts'
import { keyed } from '../../../test/jobs/keyed.ts'
import { AppError } from '../../jobs/errors.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** One server, and browsers with cookies of their own. */
async function studio(t: TestContext) {
  const parts = embedded(t)
  const services = createServices(parts, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const browser = () => browserOf(app)
  return { parts, app, browser }
}

type App = Awaited<ReturnType<typeof buildHttp>>

function browserOf(app: App, first: Readonly<Record<string, string>> = {}) {
  const cookies = new Map(Object.entries(first))
  const send = async (
    method: 'GET' | 'POST',
    url: string,
    form?: Record<string, string>,
    fragment = false,
  ) => {
    const answer = await app.inject({
      method,
      url,
      headers: {
        'sec-fetch-site': 'same-origin',
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(fragment ? { 'hx-request': 'true' } : {}),
        ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(form === undefined ? {} : { payload: new URLSearchParams(form).toString() }),
    })
    for (const { name, value } of answer.cookies) cookies.set(name, value)
    return answer
  }
  return {
    cookies,
    get: (url: string) => send('GET', url),
    post: (url: string, form: Record<string, string> = {}) => send('POST', url, form),
    /** The ids of the cards that the list has. */
    async list(after = 0) {
      const { body } = await send('GET', `/workspace/jobs?after=${after}`, undefined, true)
      return [...body.matchAll(/data-job="(\w+)"/g)].map(([, id]) => id)
    },
    async take(prompt: string) {
      const answer = await send('POST', '/jobs', { prompt })
      assert.equal(answer.statusCode, 303)
      return String(answer.headers.location).slice('/jobs/'.length)
    },
  }
}

suite('a workspace', () => {
  test('is found by a sealed cookie that scripts cannot read, and lists jobs newest first', async (t) => {
    const { browser, app } = await studio(t)
    const one = browser()
    assert.equal(
      (await one.get('/')).headers['set-cookie'],
      undefined,
      'nothing is set before there is something',
    )
    const first = await one.take('a red apple')
    const cookie = (await one.get('/')).headers['set-cookie']
    assert.match(
      String(cookie),
      /^packshot-workspace=[\w-]+; Path=\/; Max-Age=86400; HttpOnly; SameSite=Lax$/,
    )
    const second = await one.take('a green pear')
    assert.deepEqual(await one.list(), [second, first])
    const page = (await one.get('/')).body
    assert.ok(page.indexOf(second) < page.indexOf(first), 'also without JavaScript')
    const copy = browserOf(app, Object.fromEntries(one.cookies))
    assert.deepEqual(await copy.list(), [second, first], 'another tab')
  })

  test('shows nothing to others, whatever cookie they send', async (t) => {
    const { browser, app } = await studio(t)
    const one = browser()
    const id = await one.take('a red apple')
    const [value = ''] = one.cookies.values()
    assert.deepEqual(await browser().list(), [])
    for (const forged of ['', 'x', value.slice(0, -1), `${value}A`, 'A'.repeat(5000), '%00', id]) {
      const other = browserOf(app, { 'packshot-workspace': forged })
      assert.deepEqual(await other.list(), [], forged)
      assert.equal((await other.get('/')).statusCode, 200)
    }
  })

  test('is that of the caller with a key, in every browser, and of nobody else', async (t) => {
    const { app, keyOf } = await keyed(t)
    const signIn = async (name: string) => {
      const each = browserOf(app)
      assert.equal((await each.post('/sign-in', { key: keyOf(name) })).statusCode, 303)
      return each
    }
    const [ann, annElsewhere, bob] = [await signIn('ann'), await signIn('ann'), await signIn('bob')]
    const id = await ann.take('a red apple')
    assert.equal(ann.cookies.has('packshot-workspace'), false)
    assert.deepEqual(await annElsewhere.list(), [id])
    assert.deepEqual(await bob.list(), [])
    assert.equal((await browserOf(app).get('/workspace/jobs')).statusCode, 303, 'to where one signs in')
  })

  test('keeps a line of what expired, with a way to make it again, and drops what was deleted', async (t) => {
    const { browser, parts } = await studio(t)
    const one = browser()
    const id = await one.take('a red <apple>')
    parts.clock.ahead = 2 * 3_600_000
    const gone = (await one.get('/workspace/jobs')).body
    assert.match(gone, /a red &#60;apple&#62;/)
    assert.match(gone, /Make it again/)
    assert.match(gone, /prompt&#61;a\+red\+%3Capple%3E/)
    await one.post('/workspace/remove', { job: id })
    assert.doesNotMatch((await one.get('/workspace/jobs')).body, /apple/)
    parts.clock.ahead = 0
    const deleted = await one.take('a green pear')
    const manifest = { ...someManifest(someTask()), id: deleted, deleted_at: new Date().toISOString() }
    await parts.images.commit(manifest)
    await parts.status.forget(deleted)
    assert.deepEqual(await one.list(), [])
  })

  test('is cleared, and brought back for an hour; then what was in it is dropped', async (t) => {
    const { browser, parts } = await studio(t)
    const one = browser()
    const first = await one.take('a red apple')
    assert.deepEqual(await one.list(), [first])
    assert.equal((await one.post('/workspace/clear')).statusCode, 303)
    assert.deepEqual(await one.list(), [])
    assert.match((await one.get('/')).body, /Bring the list back/)
    await one.post('/workspace/restore')
    assert.deepEqual(await one.list(), [first])
    await one.post('/workspace/clear')
    parts.clock.ahead = 3_601_000 / 2
    const second = await one.take('a green pear')
    assert.deepEqual(await one.list(), [second])
    await one.post('/workspace/clear')
    await one.post('/workspace/restore')
    assert.deepEqual(await one.list(), [second], 'only what the last time took away')
    parts.clock.ahead = 3_601_000 * 1.5
    await one.list()
    await one.post('/workspace/restore')
    assert.doesNotMatch((await one.get('/workspace/jobs')).body, /apple/)
  })

  test('is bounded, and says so when the store does not answer; the job is accepted all the same', async (t) => {
    const { browser, parts, app } = await studio(t)
    const one = browser()
    await one.take('a red apple')
    const { shelved } = parts.status
    parts.status.shelved = async () => {
      throw new AppError('unavailable', 'Not now.')
    }
    const page = await one.get('/')
    assert.equal(page.statusCode, 200)
    assert.match(page.body, /cannot be read at the moment/)
    parts.status.shelve = async () => {
      throw new AppError('unavailable', 'Not now.')
    }
    await one.take('a green pear')
    parts.status.shelved = shelved
    assert.equal((await one.list()).length, 1)
    const { statusCode } = await app.inject({
      method: 'POST',
      url: '/workspace/clear',
      headers: { 'sec-fetch-site': 'cross-site', 'content-type': 'application/x-www-form-urlencoded' },
      payload: '',
    })
    assert.equal(statusCode, 403, 'not from a page of another site')
  })
})

test('another device opens the workspace by a link, after it was asked, and for some minutes', async (t) => {
  const { parts, browser } = await studio(t)
  const [mine, other, third] = [browser(), browser(), browser()]
  assert.match((await mine.get('/workspace/device')).body, /There is nothing to open yet/)
  const id = await mine.take('a pear')
  const linkOf = async () =>
    /\/workspace\/open\/[\w-]+/.exec((await mine.get('/workspace/device')).body)?.[0] ?? ''
  const link = await linkOf()
  const [cookie] = [...mine.cookies.values()]
  assert.ok(cookie !== undefined && !link.includes(cookie))

  const own = await other.take('a mug')
  // whoever only looks has opened nothing
  assert.match((await other.get(link)).body, /Open these pictures here\?/)
  assert.deepEqual(await other.list(), [own])
  assert.equal((await other.post(link)).headers.location, '/')
  assert.deepEqual(await other.list(), [id])
  const made = await other.take('a vase')
  assert.deepEqual(await mine.list(), [made, id])

  // neither is the other, and nothing made up is either
  const token = link.split('/').at(-1) ?? ''
  for (const wrong of [cookie, `${token}A`, 'none', token.slice(1)])
    assert.equal((await third.post(`/workspace/open/${wrong}`)).statusCode, 410)
  third.cookies.set('packshot-workspace', token)
  assert.deepEqual(await third.list(), [])
  parts.clock.ahead += 11 * 60_000
  for (const answer of [await third.get(link), await third.post(link)]) {
    assert.equal(answer.statusCode, 410)
    assert.match(answer.body, /Make a new one on the other device/)
  }
  assert.equal((await third.post(await linkOf())).statusCode, 303)
})
