import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InjectOptions } from 'fastify'
import { bearer, keyed } from '../../test/jobs/keyed.ts'
import { newKey } from '../jobs/keys.ts'

/** How callers are recognised, limited and signed in, by inject. */

const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const post = (headers: Record<string, string> = {}, body: object = {}): InjectOptions => ({
  method: 'POST',
  url: '/v1/jobs',
  headers: { 'content-type': 'application/json', ...headers },
  payload: JSON.stringify({ prompt: 'an apple', ...body }),
})

test('a key is read in every form of the header, and nowhere else', async (t) => {
  const { app, keyOf } = await keyed(t)
  const key = keyOf('ann')
  const ask = async (headers: Record<string, string>, url = '/v1/models') =>
    (await app.inject({ url, headers })).statusCode
  const good = [
    bearer(key),
    { authorization: `bearer   ${key} ` },
    { authorization: `Token ${key}` },
    { authorization: `Key ${key}` },
    basic(`${key}:`),
    basic(`:${key}`),
    basic(`ann:${key}`),
    basic(`${key}:x`),
  ]
  for (const headers of good) assert.equal(await ask(headers), 200, JSON.stringify(headers))
  const missing = [
    {},
    { authorization: '' },
    { authorization: 'Basic ' },
    { authorization: 'Bearer' },
    basic(':'),
  ]
  for (const headers of missing) {
    const { statusCode, body } = await app.inject({ url: '/v1/models', headers })
    assert.deepEqual([statusCode, /This needs a key/.test(body)], [401, true], JSON.stringify(headers))
  }
  const wrong = [
    { authorization: key },
    { authorization: `Digest ${key}` },
    { authorization: `Bearer ${key}, Bearer ${key}` },
    basic('ann:ann'),
    { authorization: 'Basic !!!' },
  ]
  for (const headers of wrong) assert.equal(await ask(headers), 401, JSON.stringify(headers))
  assert.equal(await ask({}, `/v1/models?key=${key}`), 401)
  assert.equal(await ask({ cookie: `packshot=${key}` }), 401)
})

test('a key that is disabled, rotated or removed counts so with the next request', async (t) => {
  const { app, keyOf, change } = await keyed(t)
  const ask = async (key: string) =>
    (await app.inject({ url: '/v1/models', headers: bearer(key) })).statusCode
  const next = newKey(new Date())
  change((file) => ({
    ...file,
    callers: file.callers.map((caller) =>
      caller.name === 'ann' ? { ...caller, keys: [...caller.keys, next.stored] } : caller,
    ),
  }))
  assert.deepEqual([await ask(keyOf('ann')), await ask(next.key)], [200, 200], 'two live keys')
  change((file) => ({
    ...file,
    callers: file.callers.map((caller) => ({
      ...caller,
      keys: caller.keys.map((key) => (keyOf('ann').includes(key.id) ? { ...key, disabled: true } : key)),
    })),
  }))
  assert.deepEqual([await ask(keyOf('ann')), await ask(keyOf('bob'))], [401, 200])
  change((file) => ({ ...file, callers: [] }))
  assert.equal(await ask(keyOf('bob')), 401)
})

test('failed attempts are limited for the network of an address, and keep nobody out who has a key', async (t) => {
  const { app, keyOf, lines } = await keyed(t, { usual: { failures: { perMinute: 1, burst: 3 } } })
  const ask = async (key: string, remoteAddress = '2001:db8::1') =>
    (await app.inject({ url: '/v1/models', headers: bearer(key), remoteAddress })).statusCode
  const statuses = []
  for (let n = 1; n <= 5; n += 1) statuses.push(await ask(newKey(new Date()).key, `2001:db8::${n}`))
  assert.deepEqual(statuses, [401, 401, 401, 429, 429])
  assert.deepEqual([await ask(keyOf('ann')), await ask('x', '2001:db8:0:1::1')], [200, 401])
  assert.ok(lines.filter((line) => line.includes('"code":"unauthorized"')).length <= 6)
  assert.match(lines.join(''), /"code":"unauthorized","address":"2001:db8::1".*The key is not valid/)
})

test('without a key strangers are served where the page is open, within the limits of their address', async (t) => {
  const { app, keyOf } = await keyed(t, {
    page: 'open',
    strangers: true,
    usual: { rate: { perMinute: 1, burst: 1 } },
    callers: { shop: { limits: { jobs_per_minute: 0 } } },
  })
  const statuses = []
  for (const headers of [{}, {}, bearer(keyOf('shop')), bearer(keyOf('shop')), bearer('pks_wrong')])
    statuses.push((await app.inject(post(headers))).statusCode)
  assert.deepEqual(statuses, [202, 429, 202, 202, 401])
})

test('each caller has limits of its own, and answers tell what is left', async (t) => {
  const usual = { rate: { perMinute: 120, burst: 120 }, unfinished: { jobs: 200 } }
  const { app, keyOf } = await keyed(t, {
    usual,
    callers: {
      fast: { limits: { jobs_per_minute: 2, units_per_day: 1000 } },
      calm: { limits: { jobs_in_flight: 1 } },
      small: { limits: { units_per_day: 1 } },
      night: { priorities: ['batch'] },
    },
  })
  const ask = (name: string, body: object = {}) => app.inject(post(bearer(keyOf(name)), body))
  const first = await ask('fast')
  assert.equal(first.headers['ratelimit-policy'], '"jobs";q=2;w=60, "work";q=1000;w=86400;qu="units"')
  assert.match(String(first.headers.ratelimit), /^"jobs";r=1;t=\d+, "work";r=999;t=\d+$/)
  await ask('fast')
  const third = await ask('fast')
  assert.equal(third.statusCode, 429)
  const wait = /r=0;t=(\d+)/.exec(String(third.headers.ratelimit))?.[1]
  assert.ok(Number(wait) <= Number(third.headers['retry-after']), 'not after Retry-After')
  assert.match(String(third.headers.ratelimit), /^"jobs";r=0;t=\d+, "work";r=99\d;t=\d+$/)
  assert.match(third.body, /2 jobs and uploads at once/)
  const upload = await app.inject({
    method: 'POST',
    url: '/v1/uploads',
    headers: { 'content-type': 'image/png', ...bearer(keyOf('ann')) },
    payload: 'no picture',
  })
  assert.equal(upload.headers['ratelimit-policy'], '"jobs";q=120;w=60')

  const statuses = []
  for (const name of ['calm', 'calm', 'ann']) statuses.push((await ask(name)).statusCode)
  assert.deepEqual(statuses, [202, 429, 202])
  await ask('small')
  const spent = await ask('small', { steps: 100 })
  assert.deepEqual([spent.statusCode, /1 units of work per day/.test(spent.body)], [429, true])

  for (const body of [{}, { priority: 'interactive' }]) {
    const refused = await ask('night', body)
    assert.deepEqual([refused.statusCode, refused.json().error.param], [403, 'priority'])
    assert.match(refused.body, /night may not send jobs of the priority interactive, only batch/)
  }
  assert.equal((await ask('night', { priority: 'batch' })).statusCode, 202)
})

test('log lines name the caller and the key, and no line has a secret', async (t) => {
  const { app, keyOf, lines } = await keyed(t, { callers: { mute: { scopes: [] } } })
  const id = keyOf('ann').slice(4, 14)
  await app.inject(post(bearer(keyOf('ann'))))
  for (let n = 0; n < 3; n += 1) await app.inject(post(bearer(keyOf('mute'))))
  await app.inject(post(bearer(`${keyOf('ann')}x`)))
  assert.match(lines.join(''), new RegExp(`"caller":"ann","key":"${id}".*job accepted`))
  assert.equal(lines.filter((line) => /"caller":"mute".*"code":"forbidden"/.test(line)).length, 1)
  assert.doesNotMatch(lines.join(''), new RegExp(keyOf('ann').slice(15, 40)))
})
