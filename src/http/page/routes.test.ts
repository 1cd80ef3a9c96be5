import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { buildStudio, Studio } from '../../../test/browser/studio.ts'
import { AppError } from '../../jobs/errors.ts'

const hostile = `<script>alert(1)</script><img src=x onerror=alert(1)>"' {{x}} \u202eabc 🍎`
const formType = { 'content-type': 'application/x-www-form-urlencoded' }
const htmx = { ...formType, 'hx-request': 'true' }

let studio = new Studio()
let app = await buildStudio(studio)
beforeEach(async () => {
  await app.close()
  studio = new Studio()
  app = await buildStudio(studio)
})
after(() => app.close())

function post(fields: Record<string, string>, headers: Record<string, string> = formType) {
  return app.inject({
    method: 'POST',
    url: '/jobs',
    headers,
    payload: new URLSearchParams(fields).toString(),
  })
}

test('the page loads its own files only and has nothing inline', async () => {
  const page = await app.inject('/')
  assert.equal(page.statusCode, 200)
  assert.match(String(page.headers['content-security-policy']), /default-src 'none'.*script-src 'self'/)
  assert.equal(page.headers['x-content-type-options'], 'nosniff')
  assert.equal(page.headers['cache-control'], 'no-store')
  assert.doesNotMatch(page.body, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:/)
  const loaded = [...page.body.matchAll(/(?:src|<link[^>]*href)="([^"]+)"/g)].map(([, url]) => String(url))
  assert.equal(loaded.length, 3)
  for (const url of loaded) {
    const file = await app.inject(url)
    assert.equal(file.statusCode, 200, url)
    assert.match(String(file.headers['cache-control']), /max-age=31536000, immutable/)
    assert.equal(file.headers['x-content-type-options'], 'nosniff')
  }
})

test('a file under the hash of another version is served, but not to be kept', async () => {
  const file = await app.inject('/assets/older/packshot.css')
  assert.equal(file.statusCode, 200)
  assert.match(String(file.headers['cache-control']), /max-age=0$/)
})

test('what a browser loads first is less than 100 KB, compressed as it accepts it', async () => {
  for (const accepted of ['gzip, deflate', 'gzip, deflate, br, zstd']) {
    const headers = { 'accept-encoding': accepted }
    const page = await app.inject({ url: '/', headers })
    const { body } = await app.inject('/')
    const urls = [...body.matchAll(/(?:src|<link[^>]*href)="([^"]+)"/g)].map(([, url]) => String(url))
    const files = await Promise.all(urls.map((url) => app.inject({ url, headers })))
    const bytes = [page, ...files].reduce((sum, { rawPayload }) => sum + rawPayload.length, 0)
    assert.ok(bytes < 100_000, `${bytes} bytes`)
    for (const { headers } of [page, ...files])
      assert.equal(headers['content-encoding'], accepted.includes('br') ? 'br' : 'gzip')
  }
})

test('a file is compressed only for whom accepts it, and is the same; a known one is not sent again', async () => {
  const [, url = ''] = /<script src="([^"]+)"/.exec((await app.inject('/')).body) ?? []
  const plain = await app.inject(url)
  assert.equal(plain.headers['content-encoding'], undefined)
  assert.match(String(plain.headers.vary), /accept-encoding/)
  for (const refused of ['identity', 'br;q=0, gzip;q=0.0', 'zstd', '', 'brr']) {
    const file = await app.inject({ url, headers: { 'accept-encoding': refused } })
    assert.equal(file.body, plain.body, refused)
  }
  for (const [accepted, unpack] of [
    ['br;q=0.5, gzip', brotliDecompressSync],
    ['gzip;q=1.0, br;q=0', gunzipSync],
  ] as const) {
    const file = await app.inject({ url, headers: { 'accept-encoding': accepted } })
    assert.equal(unpack(file.rawPayload).toString(), plain.body)
    const again = { 'accept-encoding': accepted, 'if-none-match': String(file.headers.etag) }
    assert.equal((await app.inject({ url, headers: again })).statusCode, 304)
    assert.notEqual(file.headers.etag, plain.headers.etag)
  }
  const head = await app.inject({ method: 'HEAD', url })
  assert.deepEqual([head.statusCode, head.body], [200, ''])
  assert.equal(Number(head.headers['content-length']), Buffer.byteLength(plain.body))
})

test('no other file can be asked for', async () => {
  for (const path of [
    '/assets/x/package.json',
    '/assets/x/..%2froutes.ts',
    '/assets/x/%2e%2e%2f%2e%2e',
    '/assets/x/',
  ]) {
    assert.equal((await app.inject(path)).statusCode, 404, path)
  }
})

test('hostile text is shown as text wherever it comes from', async () => {
  const query = new URLSearchParams({
    prompt: hostile,
    negative_prompt: '</textarea><script>',
    seed: '"><script>',
  })
  const refused = await post({ prompt: hostile, steps: hostile, size: hostile })
  const card = await post({ prompt: hostile }, htmx)
  studio.move({ status: 'failed', error: { code: 'internal', message: hostile } })
  const failed = await app.inject(`/jobs/${studio.newest.id}`)
  const missing = await app.inject(`/jobs/${encodeURIComponent(hostile)}`)
  for (const { body } of [await app.inject(`/?${query}`), refused, card, failed, missing]) {
    assert.doesNotMatch(body, /<script>|<img src=x|<\/textarea><script/)
  }
  assert.ok(card.body.includes('&#60;script&#62;'))
})

test('a link fills in the form and opens the settings that it changes', async () => {
  const plain = await app.inject('/?prompt=a+red+apple')
  assert.match(plain.body, />\na red apple<\/textarea>/)
  assert.doesNotMatch(plain.body, /<details class="more" open/)
  const { body } = await app.inject('/?prompt=a&seed=12&width=192&height=256&count=3')
  assert.match(body, /<details class="more" open/)
  assert.match(body, /name="seed"[^>]* value="12"/)
  assert.match(body, /<option value="192x256" selected>/)
  assert.match(body, /name="count" value="3" checked>/)
  assert.match(body, /name="width"[^>]* value=""/)
  const custom = await app.inject('/?prompt=a&width=320&height=320')
  assert.match(custom.body, /name="width"[^>]* value="320"/)
})

test('a link by job fills in a prompt that is too long for an address', async () => {
  const prompt = '苹果'.repeat(600)
  await post({ prompt })
  const { body } = await app.inject(`/?from=${studio.newest.id}&seed=5&count=1`)
  assert.ok(body.includes(prompt))
  assert.match(body, /name="seed"[^>]* value="5"/)
  assert.equal((await app.inject('/?from=unknown')).statusCode, 200)
})

test('without JavaScript: post, redirect, a page that asks again, and one that does not', async () => {
  const posted = await post({ prompt: 'a red apple', steps: '12', size: '192x256' })
  const { id, request } = studio.newest
  assert.equal(posted.statusCode, 303)
  assert.equal(posted.headers.location, `/jobs/${id}`)
  assert.deepEqual([request?.steps, request?.width, request?.height], [12, 192, 256])
  studio.move({ status: 'running', poll_after_ms: 2400 })
  assert.match((await app.inject(`/jobs/${id}`)).body, /<noscript><meta http-equiv="refresh" content="3">/)
  studio.finish()
  const { body } = await app.inject(`/jobs/${id}`)
  assert.doesNotMatch(body, /http-equiv="refresh"|hx-get="\/jobs/)
  assert.match(
    body,
    new RegExp(`<img src="/v1/jobs/${id}/images/0" width="192" height="256" alt="a red apple"`),
  )
  assert.match(body, /download>/)
})

test('a card carries its own delay and the final one has none', async () => {
  const { body, headers } = await post({ prompt: 'a red apple' }, htmx)
  const { id } = studio.newest
  assert.equal(headers['packshot-fragment'], '1')
  assert.ok(body.includes(`hx-get="/jobs/${id}/card" hx-trigger="load delay:100ms, retry"`))
  assert.match(body, /Waiting: 2 jobs before yours.*9 s left/s)
  studio.move({ status: 'running', progress: { step: 8, steps: 20 }, eta_seconds: 4, poll_after_ms: 900 })
  const running = await app.inject(`/jobs/${id}/card`)
  assert.match(
    running.body,
    /delay:900ms.*Step <span data-step>8<\/span> of 20.*<progress[^>]* max="20" value="8"/s,
  )
  studio.finish()
  assert.doesNotMatch((await app.inject(`/jobs/${id}/card`)).body, /hx-get|<progress|Cancel/)
})

test('faults stand beside their fields, and what was typed stays', async () => {
  const fields = { prompt: ' ', steps: '500', seed: 'seven', negative_prompt: 'blurry' }
  for (const headers of [formType, htmx]) {
    const { statusCode, body } = await post(fields, headers)
    assert.equal(statusCode, 422)
    assert.match(
      body,
      /id="prompt"[^>]* aria-describedby="prompt-error prompt-help" aria-invalid="true" autofocus/,
    )
    assert.match(body, /<p class="field-error" id="prompt-error">Say what should be in the picture/)
    assert.match(
      body,
      /id="steps-error">The number of steps must be a whole number from 1 to 100, but was 500\./,
    )
    assert.match(body, /name="seed" type="text"[^>]* value="seven"/)
    assert.match(body, />\nblurry<\/textarea>/)
    assert.match(body, /<details class="more" open/)
  }
  const { headers } = await post(fields, htmx)
  assert.equal(headers['hx-retarget'], '#request')
  assert.equal(studio.submitted, 0)
})

test('a full queue keeps the form and says when to come back', async () => {
  studio.refusal = new AppError('queue_full', 'As many jobs are waiting as are allowed.', {
    retryAfterSeconds: 30,
  })
  const { statusCode, headers, body } = await post({ prompt: 'a red apple' })
  assert.equal(statusCode, 503)
  assert.equal(headers['retry-after'], '30')
  assert.match(body, /role="alert".*As many jobs are waiting/s)
  assert.match(body, />\na red apple<\/textarea>/)
})

test('a form of another site is refused', async () => {
  const refused: Record<string, string>[] = [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: 'http://localhost' },
    { origin: 'http://evil.test' },
    { origin: 'null' },
  ]
  for (const headers of refused) {
    assert.equal((await post({ prompt: 'a' }, { ...formType, ...headers })).statusCode, 403)
  }
  assert.equal(studio.submitted, 0)
  const ours: Record<string, string>[] = [
    { 'sec-fetch-site': 'same-origin', origin: 'null' },
    { host: '192.168.1.5:8080', origin: 'http://192.168.1.5:8080' },
    {},
  ]
  for (const headers of ours) {
    assert.equal((await post({ prompt: 'a' }, { ...formType, ...headers })).statusCode, 303)
  }
})

test('a form that is refused says why, which names met, and what to set', async () => {
  const behindProxy = { host: '127.0.0.1:8080', origin: 'http://studio.lan:9001' }
  for (const type of [formType, htmx]) {
    const answer = await post({ prompt: 'a red apple' }, { ...type, ...behindProxy })
    assert.equal(answer.statusCode, 403)
    assert.match(
      answer.body,
      /role="alert".*studio\.lan:9001.*127\.0\.0\.1:8080.*Host \$http_host.*PACKSHOT_ALLOWED_HOSTS/s,
    )
    assert.match(answer.body, />\na red apple<\/textarea>/)
  }
  const large = await post({ prompt: 'a'.repeat(70_000) }, htmx)
  assert.deepEqual([large.statusCode, large.headers['hx-retarget']], [413, '#request'])
  assert.match(large.body, /role="alert">The body must have at most/)
  const packed = await post({ prompt: 'a' }, { ...htmx, 'content-encoding': 'gzip' })
  assert.equal(packed.statusCode, 415)
  assert.match(packed.body, /role="alert">The body must not be compressed/)
  assert.equal(studio.submitted, 0)
})

test('an allowed name is our own page on any port, whatever host a proxy passes on', async () => {
  await app.close()
  app = await buildStudio(studio, { allowedHosts: 'studio.lan' })
  for (const host of ['127.0.0.1:8080', 'studio.lan', 'studio.lan:9001']) {
    const headers = { ...formType, host, origin: 'http://studio.lan:9001' }
    assert.equal((await post({ prompt: 'a' }, headers)).statusCode, 303, host)
    assert.equal((await post({ prompt: 'a' }, { ...headers, origin: 'http://evil.lan' })).statusCode, 403)
    assert.equal((await post({ prompt: 'a' }, { ...headers, origin: 'http://127.0.0.1:1' })).statusCode, 403)
  }
})

test('cancel answers with a card or a redirect', async () => {
  await post({ prompt: 'a red apple' })
  const url = `/jobs/${studio.newest.id}/cancel`
  studio.move({ status: 'running' })
  const stopping = await app.inject({ method: 'POST', url, headers: { 'hx-request': 'true' } })
  assert.match(stopping.body, /Stopping.*disabled/s)
  studio.move({ status: 'canceled' })
  const done = await app.inject({ method: 'POST', url })
  assert.equal(done.statusCode, 303)
  assert.match((await app.inject(`/jobs/${studio.newest.id}`)).body, /Canceled\. No picture was taken/)
})

test('what is gone is said in a page for people and in a card for a card', async () => {
  const page = await app.inject({ url: '/jobs/nothing', headers: { accept: 'text/html' } })
  assert.equal(page.statusCode, 404)
  assert.match(page.body, /<h1>There is nothing here<\/h1>/)
  const card = await app.inject({ url: '/jobs/nothing/card', headers: { 'hx-request': 'true' } })
  assert.equal(card.statusCode, 404)
  assert.equal(card.headers['packshot-fragment'], '1')
  assert.doesNotMatch(card.body, /hx-get/)
})

test('an unknown address is a page for a browser and an error of the API for a program', async () => {
  const asBrowser = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }
  const page = await app.inject({ url: '/no/such/page', ...asBrowser })
  assert.equal(page.statusCode, 404)
  assert.match(page.body, /<h1>There is nothing here<\/h1>/)
  assert.match(String(page.headers['content-security-policy']), /style-src 'self'/)
  for (const answer of [
    await app.inject('/no/such/page'),
    await app.inject({ url: '/v1/none', ...asBrowser }),
  ]) {
    assert.equal(answer.statusCode, 404)
    assert.equal(answer.json().error.code, 'not_found')
  }
})

test('too much text is refused before it is read', async () => {
  assert.equal((await post({ prompt: 'a'.repeat(70_000) })).statusCode, 413)
})
