import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { ballPng } from '../../test/browser/png.ts'
import { runDeps, workUntil } from '../../test/jobs/embedded.ts'
import { bearer, keyed } from '../../test/jobs/keyed.ts'
import type { Scope } from '../jobs/caller.ts'
import { newKey } from '../jobs/keys.ts'

/** Every route of the service with the keys of others, with wrong keys and with none. A route without a case fails. */

interface Things {
  readonly job: string
  readonly link: string
  readonly upload: string
  readonly asset: string
}

interface Case {
  /** `open`: needs no key. `any`: every caller has it. `own`: it is about something of one caller. */
  readonly for: 'open' | 'any' | 'own'
  readonly scope?: Scope
  readonly request: (things: Things) => InjectOptions
}

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

/** Read from the tree that fastify prints. HEAD comes with GET. */
function routesOf(app: FastifyInstance): string[] {
  const path: string[] = []
  const routes: string[] = []
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent = '', part = '', methods = ''] = /^([│ ]*)[├└]── (\S+)(?: \((.*)\))?$/.exec(line) ?? []
    if (part === '') continue
    path.length = indent.length / 4
    path.push(part)
    for (const method of methods.split(', ').filter((each) => each !== '' && each !== 'HEAD'))
      routes.push(`${method} ${path.join('')}`)
  }
  return routes.sort()
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
  return { ...server, ann, things: { job, upload, link, asset } as Things }
}

const isSentToSignIn = ({ statusCode, headers }: LightMyRequestResponse) =>
  statusCode === 303 && String(headers.location).startsWith('/sign-in?next=')

test('each route has a case here', async (t) => {
  const { app } = await keyed(t)
  assert.deepEqual(routesOf(app), Object.keys(cases).sort())
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
      assert.match(String(response.headers['www-authenticate']), /^Bearer realm="Packshot"/, what)
      const kind = ['unknown', 'wrong', 'forged'].includes(name) ? 'not valid' : name
      bodies.set(kind, (bodies.get(kind) ?? new Set()).add(response.body))
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
    assert.ok(response.statusCode < 400, `${route}: ${response.statusCode}`)
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
