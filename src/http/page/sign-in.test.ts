import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { InjectOptions } from 'fastify'
import { bearer, type KeyedOptions, keyed } from '../../../test/jobs/keyed.ts'

/** The page's sign-in, by inject. */

const own = { 'sec-fetch-site': 'same-origin' }
const formType = { 'content-type': 'application/x-www-form-urlencoded' }
const posted = (url: string, fields: Record<string, string>, headers: object = own): InjectOptions => ({
  method: 'POST',
  url,
  headers: { ...formType, ...headers },
  payload: new URLSearchParams(fields).toString(),
})

/** ann is signed in: her cookie. */
async function signedIn(t: TestContext, options: KeyedOptions = {}, headers: object = {}) {
  const server = await keyed(t, options)
  const fields = { key: ` ${server.keyOf('ann')}\n`, next: '/jobs/x?y=1' }
  const response = await server.app.inject(posted('/sign-in', fields, { ...own, ...headers }))
  const set = String(response.headers['set-cookie'])
  return { ...server, response, set, cookie: set.split(';', 1)[0] ?? '' }
}

test('a page opened without a session leads to the sign-in and back; the session shows who it is', async (t) => {
  const { app, response, set, cookie, keyOf } = await signedIn(t)
  const opened = await app.inject('/jobs/x?y=1')
  assert.deepEqual([opened.statusCode, opened.headers.location], [303, '/sign-in?next=%2Fjobs%2Fx%3Fy%3D1'])
  const form = await app.inject(String(opened.headers.location))
  assert.match(form.body, /type="password".*name="next" value="\/jobs\/x\?y(=|&#61;)1"/s)
  assert.match(String(form.headers['content-security-policy']), /script-src 'self'/)
  assert.deepEqual([response.statusCode, response.headers.location], [303, '/jobs/x?y=1'])
  assert.match(set, /^packshot=[\w.-]+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/)
  assert.ok(!set.includes(keyOf('ann').slice(15)))
  const home = await app.inject({ url: '/', headers: { cookie: `other=1; ${cookie}` } })
  assert.equal(home.statusCode, 200)
  assert.match(home.body, /action="\/sign-out"><span[^>]*>ann<\/span>/)
  assert.equal(home.headers['cache-control'], 'no-store')
  const fragment = await app.inject({ url: '/jobs/x/card', headers: { 'hx-request': 'true' } })
  assert.deepEqual([fragment.statusCode, fragment.headers['hx-refresh'], fragment.body], [401, 'true', ''])
  assert.equal((await app.inject({ url: '/v1/models', headers: { cookie } })).statusCode, 200)
  assert.equal((await app.inject({ url: '/v1/models' })).statusCode, 401)
})

test('over TLS the cookie is for this host alone', async (t) => {
  const proxied = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.1' }
  const { app, set, cookie } = await signedIn(t, { trustedProxies: '127.0.0.1' }, proxied)
  assert.match(set, /^__Host-packshot=[\w.-]+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/)
  const ask = async (headers: Record<string, string>) =>
    (await app.inject({ url: '/v1/models', headers })).statusCode
  assert.deepEqual([await ask({ cookie, ...proxied }), await ask({ cookie })], [200, 401])
})

test('a session ends with its key, with its caller, by signing out, and is worth nothing if it is changed', async (t) => {
  const { app, cookie, change, parts } = await signedIn(t)
  const ask = async (sent = cookie) =>
    (await app.inject({ url: '/v1/models', headers: { cookie: sent } })).statusCode
  assert.equal(await ask(), 200)
  const [name = '', value = ''] = cookie.split('=')
  for (const other of [`${name}=${value}x`, `${name}=x${value}`, `${name}=`, `${name}=.`])
    assert.equal(await ask(other), 401)
  const out = await app.inject(posted('/sign-out', {}, { ...own, cookie }))
  assert.deepEqual([out.statusCode, out.headers.location], [303, '/sign-in'])
  assert.match(String(out.headers['set-cookie']), /^packshot=; .*Max-Age=0/)
  parts.clock.ahead = 8 * 86_400_000
  assert.equal(await ask(), 401)
  parts.clock.ahead = 0
  change((file) => ({ ...file, callers: file.callers.map((caller) => ({ ...caller, disabled: true })) }))
  assert.equal(await ask(), 401)
})

test('what is no key is told so on the form, and counts as a failed attempt', async (t) => {
  const { app, gone, lines } = await keyed(t, { usual: { failures: { perMinute: 1, burst: 2 } } })
  const ask = async (key: string) => {
    const { statusCode, body, headers } = await app.inject(posted('/sign-in', { key, next: '/' }))
    assert.equal(headers['set-cookie'], undefined)
    return [statusCode, /role="alert">([^<]*)</.exec(body)?.[1]]
  }
  assert.deepEqual(await ask(''), [401, 'The key is missing.'])
  assert.deepEqual(await ask('<script>'), [401, 'The key is not valid.'])
  assert.match(String(await ask(gone.disabled)), /^401,The key \w{10} is disabled\.$/)
  assert.match(String(await ask('pks_')), /^429,/)
  assert.match(lines.join(''), /"code":"unauthorized","address":"127\.0\.0\.1"/)
})

test('a sign-in leads to this server only', async (t) => {
  const { app, keyOf } = await keyed(t)
  for (const next of [
    '//evil.example',
    '/\\evil.example',
    'https://evil.example',
    'javascript:0',
    '/a\nb',
    '',
  ]) {
    const { headers } = await app.inject(posted('/sign-in', { key: keyOf('ann'), next }))
    assert.equal(headers.location, '/', next)
  }
})

test('a page of another site cannot sign in, sign out, or use the session, on the API neither', async (t) => {
  const { app, cookie, keyOf } = await signedIn(t)
  const job = { method: 'POST', url: '/v1/jobs', payload: '{"prompt":"x"}' } as const
  const send = async (headers: Record<string, string>, request: InjectOptions = job) =>
    (await app.inject({ ...request, headers: { 'content-type': 'application/json', ...headers } })).statusCode
  const foreign: Record<string, string>[] = [
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site' },
    { origin: 'http://evil.example' },
    { origin: 'null' },
    {},
  ]
  for (const headers of foreign) {
    assert.equal(await send({ cookie, ...headers }), 403, JSON.stringify(headers))
    assert.equal(await send({ cookie, ...headers }, { method: 'DELETE', url: '/v1/jobs/x' }), 403)
    if (Object.keys(headers).length === 0) continue
    for (const url of ['/sign-in', '/sign-out']) {
      const refused = await app.inject(posted(url, { key: keyOf('ann') }, { ...headers, cookie }))
      assert.deepEqual([refused.statusCode, refused.headers['set-cookie']], [403, undefined], url)
    }
  }
  assert.equal(await send({ cookie, ...own }), 202)
  assert.equal(await send({ cookie, origin: 'http://localhost', host: 'localhost' }), 202)
  assert.equal(await send(bearer(keyOf('ann'))), 202, 'a program with a key is no browser')
  // the password of a proxy in front comes along with the session
  assert.equal(await send({ cookie, ...own, authorization: 'Basic YW5uOnNlY3JldA==' }), 202)
  assert.equal(await send({ cookie, authorization: 'Basic YW5uOnNlY3JldA==' }), 403)
})

test('without a page its addresses are 404, and the API is as it was', async (t) => {
  const { app, keyOf } = await keyed(t, { page: 'off' })
  const browser = { accept: 'text/html' }
  for (const url of ['/', '/jobs/x', '/sign-in', '/assets/x/studio.css']) {
    const { statusCode, headers } = await app.inject({ url, headers: browser })
    assert.deepEqual([statusCode, headers['content-type']], [404, 'application/json; charset=utf-8'], url)
  }
  assert.equal((await app.inject({ url: '/v1/models', headers: bearer(keyOf('ann')) })).statusCode, 200)
})
