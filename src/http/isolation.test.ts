import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse, RouteOptions } from 'fastify'
import { ballPng } from '../../test/browser/png.ts'
import { dialectCases } from '../../test/jobs/dialect-cases.ts'
import { runDeps, workUntil } from '../../test/jobs/embedded.ts'
import { bearer, keyed } from '../../test/jobs/keyed.ts'
import type { Case, Things } from '../../test/jobs/route-cases.ts'
import { newKey } from '../jobs/keys.ts'

/** Every route of the service with the keys of others, with wrong keys and with none. A route without a case fails. */

const json = (url: string): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/json' },
  payload: '{"prompt":"an apple"}',
})
const form = (url: string, payload = ''): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  payload,
})
const picture: InjectOptions = {
  method: 'POST',
  url: '/v1/uploads',
  headers: { 'content-type': 'image/png' },
  payload: Buffer.from(ballPng(64, 64)),
}

const cases: Readonly<Record<string, Case>> = {
  'POST /v1/jobs': { for: 'any', scope: 'jobs:write', request: () => json('/v1/jobs') },
  ...dialectCases,
  'GET /v1/jobs': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/v1/jobs' }) },
  'GET /v1/jobs/:id/events': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/jobs/${job}/events` }),
  },
  'GET /v1/jobs/:id/preview': {
    for: 'own',
    scope: 'jobs:read',
    // the job is finished
    refused: true,
    request: ({ job }) => ({ url: `/v1/jobs/${job}/preview` }),
  },
  'GET /v1/jobs/:id': { for: 'own', scope: 'jobs:read', request: ({ job }) => ({ url: `/v1/jobs/${job}` }) },
  'POST /v1/jobs/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => ({ method: 'POST', url: `/v1/jobs/${job}/cancel` }),
  },
  'DELETE /v1/jobs/:id': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => ({ method: 'DELETE', url: `/v1/jobs/${job}` }),
  },
  'GET /v1/jobs/:id/images/:index': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/jobs/${job}/images/0` }),
  },
  'GET /v1/pictures/:link': { for: 'open', request: ({ link }) => ({ url: link }) },
  'GET /v1/models': { for: 'any', request: () => ({ url: '/v1/models' }) },
  'GET /v1/samplers': { for: 'any', request: () => ({ url: '/v1/samplers' }) },
  'POST /v1/uploads': { for: 'any', scope: 'uploads', request: () => picture },
  'GET /v1/uploads/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ url: `/v1/uploads/${upload}` }),
  },
  'DELETE /v1/uploads/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ method: 'DELETE', url: `/v1/uploads/${upload}` }),
  },
  'GET /healthz/live': { for: 'open', request: () => ({ url: '/healthz/live' }) },
  'GET /healthz/load': { for: 'open', request: () => ({ url: '/healthz/load' }) },
  'GET /healthz/ready': { for: 'open', request: () => ({ url: '/healthz/ready' }) },
  'GET /openapi.json': { for: 'any', request: () => ({ url: '/openapi.json' }) },
  'GET /assets/:version/:name': { for: 'open', request: ({ asset }) => ({ url: asset }) },
  'GET /sign-in': { for: 'open', request: () => ({ url: '/sign-in' }) },
  'POST /sign-in': { for: 'open', request: () => form('/sign-in', 'key=nothing') },
  'POST /sign-out': { for: 'open', request: () => form('/sign-out') },
  'GET /': { for: 'any', request: () => ({ url: '/' }) },
  'POST /form': { for: 'any', request: () => form('/form') },
  'POST /jobs': { for: 'any', scope: 'jobs:write', request: () => form('/jobs', 'prompt=an+apple&seed=1') },
  'GET /jobs/:id': { for: 'own', scope: 'jobs:read', request: ({ job }) => ({ url: `/jobs/${job}` }) },
  'GET /jobs/:id/card': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/jobs/${job}/card` }),
  },
  'POST /jobs/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => form(`/jobs/${job}/cancel`),
  },
}

/** The routes of the next app, as they are registered: the tree that fastify prints has one entry for all that end in *. HEAD comes with GET. */
async function routesOf(build: () => Promise<unknown>): Promise<string[]> {
  const routes = new Set<string>()
  const note = ({ method, url }: RouteOptions) => {
    for (const each of [method].flat()) if (each !== 'HEAD') routes.add(`${each} ${url}`)
  }
  const created = (message: unknown) =>
    void (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', note)
  subscribe('fastify.initialization', created)
  await build()
  unsubscribe('fastify.initialization', created)
  return [...routes].sort()
}

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
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const { link } = (await ann({ url: `/v1/jobs/${job}` })).json().images[0]
  const asset = /href="(\/assets\/[^"]+)"/.exec((await ann({ url: '/' })).body)?.[1] ?? ''
  const { urls } = (await ann({ url: `/v1/predictions/${job}` })).json()
  const { upload_url } = (await ann(json('/fal/rest/storage/upload/initiate'))).json()
  const things: Things = { job, upload, link, asset, stream: urls.stream, uploadAddress: upload_url }
  return { ...server, ann, things }
}

const isSentToSignIn = ({ statusCode, headers }: LightMyRequestResponse) =>
  statusCode === 303 && String(headers.location).startsWith('/sign-in?next=')

/** The text of an error, in any API's format. */
function sentenceIn(response: LightMyRequestResponse): string {
  const { error, detail } = response.json()
  return detail ?? error.message ?? error
}

test('each route has a case here', async (t) => {
  const routes = await routesOf(() => keyed(t))
  assert.deepEqual(routes, Object.keys(cases).sort())
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
  const bodies = new Map<string, Set<string>>()
  for (const [route, { for: whose, request }] of Object.entries(cases)) {
    for (const [name, key] of Object.entries(keys)) {
      const response = await app.inject(as(key, request(things)))
      const what = `${route} with the key: ${name}`
      if (whose === 'open') {
        if (route !== 'POST /sign-in') assert.ok(response.statusCode < 400, what)
        continue
      }
      assert.equal(response.headers.vary?.toString().includes('authorization'), true, what)
      assert.equal(response.headers['cache-control'], 'no-store', what)
      if (isSentToSignIn(response)) continue
      assert.equal(response.statusCode, 401, what)
      assert.match(String(response.headers['www-authenticate']), /^(Bearer|Basic) realm="Packshot"/, what)
      const kind = ['unknown', 'wrong', 'forged'].includes(name) ? 'not valid' : name
      bodies.set(kind, (bodies.get(kind) ?? new Set()).add(sentenceIn(response)))
    }
  }
  for (const [kind, said] of bodies) assert.equal(said.size, 1, `one sentence for a key that is ${kind}`)
  assert.match([...(bodies.get('expired') ?? [])].join(), /has expired/)
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
    for (const [route, { for: whose, request }] of Object.entries(cases)) {
      if (whose !== 'own') continue
      const response = await app.inject(as(bob, request(server.things)))
      assert.equal(response.statusCode, 404, route)
      const ghost = request({
        ...server.things,
        job: flipped(server.things.job),
        upload: flipped(server.things.upload),
      })
      assert.equal(response.body, (await app.inject(as(bob, ghost))).body, route)
    }
    const prefilled = await app.inject(as(bob, { url: `/?from=${server.things.job}` }))
    assert.doesNotMatch(prefilled.body, /an apple<\/textarea>/)
  }
  // the same with its own key; what deletes comes last
  const own = Object.entries(cases).filter(([, each]) => each.for === 'own')
  const deletes = ([route]: [string, unknown]) => Number(route.startsWith('DELETE'))
  for (const [route, { request }] of own.sort((a, b) => deletes(a) - deletes(b))) {
    const response = await server.ann(request(server.things))
    assert.equal(
      response.statusCode < 400,
      cases[route]?.refused !== true,
      `${route}: ${response.statusCode}`,
    )
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
  for (const [route, { scope, request }] of Object.entries(cases)) {
    const response = await app.inject(as(keyOf('mute'), request(things)))
    if (scope === undefined) {
      assert.ok(response.statusCode < 400 || route === 'POST /sign-in', `${route}: ${response.statusCode}`)
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
})
