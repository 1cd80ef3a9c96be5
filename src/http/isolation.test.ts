import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { runDeps, workUntil } from '../../test/jobs/embedded.ts'
import { bearer, keyed } from '../../test/jobs/keyed.ts'
import { json, picture, routeCases, type Things } from '../../test/jobs/route-cases.ts'
import { newKey } from '../jobs/keys.ts'

/** Every route of the service with the keys of others, with wrong keys and with none. A route without a case fails. */

const as = (key: string | undefined, request: InjectOptions): InjectOptions => ({
  ...request,
  headers: { ...request.headers, ...(key === undefined ? {} : bearer(key)) },
})

/** A service in which ann has a finished job, its picture and an upload. */
async function withThings(t: Parameters<typeof keyed>[0], options: Parameters<typeof keyed>[1] = {}) {
  const server = await keyed(t, options)
  const { app, parts, keyOf } = server
  const ann = (request: InjectOptions) => app.inject(as(keyOf('ann'), request))
  const { id: job } = (await ann(json('/v1/jobs'))).json()
  const { id: upload } = (await ann(picture)).json()
  const { id: run } = (await ann(json('/v1/catalogues', { csv: 'prompt\nan apple' }))).json()
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const { link } = (await ann({ url: `/v1/jobs/${job}` })).json().images[0]
  const { id: kept } = (await ann({ method: 'POST', url: `/v1/jobs/${job}/images/0/keep` })).json()
  const asset = /href="(\/assets\/[^"]+)"/.exec((await ann({ url: '/' })).body)?.[1] ?? ''
  const { urls } = (await ann({ url: `/v1/predictions/${job}` })).json()
  const stream = new URL(urls.stream).pathname
  return { ...server, ann, things: { job, kept, upload, run, link, asset, stream } satisfies Things }
}

const isSentToSignIn = ({ statusCode, headers }: LightMyRequestResponse) =>
  statusCode === 303 && String(headers.location).startsWith('/sign-in?next=')

test('each route has a case here', async (t) => {
  const { app } = await keyed(t)
  const routes = app.knownRoutes.all().filter((route) => !route.startsWith('HEAD '))
  assert.deepEqual(routes.sort(), Object.keys(routeCases).sort())
})

test('without a key that counts, each route is refused, and nothing is counted, made or told', async (t) => {
  const { app, parts, gone, keyOf, things, lines } = await withThings(t)
  const secret = keyOf('ann').slice(15)
  const keys: Record<string, string | undefined> = {
    none: undefined,
    unknown: newKey(new Date()).key,
    wrong: keyOf('ann').slice(0, -1),
    forged: `${gone.disabled.slice(0, 15)}${secret}`,
    ...gone,
  }
  const sentences: Record<string, RegExp> = {
    none: /This needs a key/,
    expired: /The key \w{10} has expired\./,
    disabled: /The key \w{10} is disabled\./,
  }
  for (const [route, { for: whose, says, request }] of Object.entries(routeCases)) {
    for (const [name, key] of Object.entries(keys)) {
      const response = await app.inject(as(key, request(things)))
      const what = `${route} with the key: ${name}`
      if (whose === 'open') {
        if (route !== 'POST /sign-in')
          assert.ok(response.statusCode < 400 || response.statusCode === says, what)
        continue
      }
      assert.equal(response.headers.vary?.toString().includes('authorization'), true, what)
      assert.equal(response.headers['cache-control'], 'no-store', what)
      if (isSentToSignIn(response)) continue
      assert.equal(response.statusCode, 401, what)
      assert.match(String(response.headers['www-authenticate']), / realm="Packshot"/, what)
      assert.match(response.body, sentences[name] ?? /The key is not valid\./, what)
    }
  }
  assert.equal(await parts.queue.depth(), 0)
  for (const key of [...Object.values(keys), keyOf('ann')])
    assert.ok(key === undefined || !lines.join('').includes(key.slice(15)), 'no secret is logged')
  assert.match(lines.join(''), /"caller":"ann","key":"[0-9a-z]{10}"/)
})

test('what is of another caller is as if it had never been, with all stores wiped too', async (t) => {
  const server = await withThings(t)
  const never = await keyed(t)
  for (const { app, keyOf } of [server, never]) {
    const bob = keyOf('bob')
    for (const [route, { for: whose, request }] of Object.entries(routeCases)) {
      if (whose !== 'own') continue
      const response = await app.inject(as(bob, request(server.things)))
      assert.equal(response.statusCode, 404, route)
      const ghost = request({
        ...server.things,
        job: flipped(server.things.job),
        kept: flipped(server.things.kept),
        upload: flipped(server.things.upload),
        run: flipped(server.things.run),
      })
      assert.equal(response.body, (await app.inject(as(bob, ghost))).body, route)
    }
    for (const url of ['/v1/jobs', '/v1/predictions'])
      assert.ok(!(await app.inject(as(bob, { url }))).body.includes(server.things.job), url)
    const prefilled = await app.inject(as(bob, { url: `/?from=${server.things.job}` }))
    assert.doesNotMatch(prefilled.body, /an apple<\/textarea>/)
  }
  // the same with its own key; what deletes comes last
  const own = Object.entries(routeCases).filter(([, each]) => each.for === 'own')
  const deletes = ([route]: [string, unknown]) => Number(/^DELETE|\/delete$/.test(route))
  for (const [route, { request, says }] of own.sort((a, b) => deletes(a) - deletes(b))) {
    const response = await server.ann(request(server.things))
    assert.ok(response.statusCode < 400 || response.statusCode === says, `${route}: ${response.body}`)
  }
  const unknown = await never.app.inject(as(never.keyOf('ann'), { url: `/v1/jobs/${server.things.job}` }))
  assert.deepEqual([unknown.statusCode, unknown.json().status], [200, 'queued'])
})

/** An id of the same form that was never issued. */
function flipped(id: string): string {
  return id.slice(0, -1) + (id.endsWith('0') ? '1' : '0')
}

test('a caller whose keys lack the scope is told which, on each route', async (t) => {
  const { app, things, keyOf } = await withThings(t, { callers: { mute: { scopes: [] } } })
  for (const [route, { scope, says, request }] of Object.entries(routeCases)) {
    const response = await app.inject(as(keyOf('mute'), request(things)))
    if (scope === undefined) {
      const { statusCode } = response
      assert.ok(
        statusCode < 400 || statusCode === says || route === 'POST /sign-in',
        `${route}: ${statusCode}`,
      )
    } else {
      assert.equal(response.statusCode, 403, route)
      assert.match(response.body, new RegExp(`mute may not do this: its keys lack the scope ${scope}`), route)
    }
  }
})

test('one Idempotency-Key of two callers is two jobs; a picture of another is none, and nobody learns that it exists', async (t) => {
  const { app, things, keyOf } = await withThings(t)
  const post = (name: string, body: object, headers = {}) =>
    app.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { 'content-type': 'application/json', ...bearer(keyOf(name)), ...headers },
      payload: JSON.stringify(body),
    })
  const key = { 'idempotency-key': 'order-1-of-a-customer' }
  const jobs = []
  for (const name of ['ann', 'bob', 'ann']) jobs.push((await post(name, { prompt: name }, key)).json())
  assert.equal(jobs[0].id, jobs[2].id)
  assert.notEqual(jobs[0].id, jobs[1].id)
  assert.notEqual(jobs[0].request.seed, jobs[1].request.seed)
  for (const field of ['init_image', 'mask']) {
    const ask = async (id: string) => {
      const both = field === 'mask' ? { init_image: id, mask: id } : { init_image: id }
      const { statusCode, body } = await post('bob', { prompt: 'x', ...both })
      return [statusCode, body.replaceAll(id, '')]
    }
    const [status, message] = await ask(things.upload)
    assert.deepEqual([status, message], await ask(flipped(things.upload)))
    assert.match(String(message), /which was never issued/)
  }
  assert.equal((await post('ann', { prompt: 'x', init_image: things.upload })).statusCode, 202)
  const dialects = (id: string): [string, InjectOptions][] => [
    [
      'replicate',
      json('/v1/predictions', {
        model: 'packshot/stand-in',
        input: { prompt: 'x', image: `http://localhost:80/v1/files/${id}` },
      }),
    ],
    [
      'fal',
      json('/fal/queue/packshot/stand-in', { prompt: 'x', image_url: `http://localhost:80/fal/files/${id}` }),
    ],
  ]
  const said = async (name: string, id: string) => {
    const answers = dialects(id).map(async ([dialect, request]) => {
      const { statusCode, body } = await app.inject(as(keyOf(name), request))
      return [dialect, statusCode, statusCode < 300 ? '' : body.replaceAll(id, '')]
    })
    return Promise.all(answers)
  }
  const refused = await said('bob', things.upload)
  assert.deepEqual(refused, await said('bob', flipped(things.upload)))
  assert.ok(
    refused.every(([, status]) => Number(status) >= 400),
    JSON.stringify(refused),
  )
  const own = await said('ann', things.upload)
  assert.ok(
    own.every(([, status]) => Number(status) < 300),
    JSON.stringify(own),
  )
})
