import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { suite, type TestContext, test } from 'node:test'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { collect } from '../../../test/contract/task-queue.ts'
import { type Embedded, embedded, runDeps, storageIsAway, workUntil } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { memoryRateLimiter } from '../../adapters/memory/rate-limiter.ts'
import { anonymousCaller, type Credentials } from '../../jobs/caller.ts'
import type { Task } from '../../jobs/job.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/**
 * The API, by inject. Longer than most files: one place shows every bad input and its answer.
 */

interface Server {
  readonly app: FastifyInstance
  readonly parts: Embedded
  readonly state: { ready: boolean }
}

async function server(
  t: TestContext,
  change: (parts: Embedded) => Partial<Embedded> = () => ({}),
): Promise<Server> {
  const parts = embedded(t)
  const state = { ready: true }
  const services = createServices({ ...parts, ...change(parts) }, () => state.ready)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  return { app, parts, state }
}

const post = (app: FastifyInstance, body: unknown, headers: Record<string, string> = {}) =>
  app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof body === 'string' ? body : JSON.stringify(body),
  })

const workAll = ({ parts }: Server) =>
  workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)

function assertFault(response: LightMyRequestResponse, status: number, code: string, param?: string): void {
  assert.equal(response.statusCode, status, response.body)
  const { error, ...rest } = response.json()
  assert.deepEqual([error.code, error.param, rest], [code, param, {}])
  assert.ok(error.message.length > 10 && error.message.length < 2000)
  assert.match(String(response.headers['content-type']), /^application\/json/)
  assert.equal(response.headers['cache-control'], 'no-store')
}

suite('the API', () => {
  test('accepts a job, answers its status, and serves its picture', async (t) => {
    const running = await server(t)
    const { app } = running
    const accepted = await post(app, { prompt: 'a red apple', seed: 7 })
    assert.equal(accepted.statusCode, 202)
    const { id, status, position, poll_after_ms } = accepted.json()
    assert.deepEqual([status, position], ['queued', 0])
    assert.equal(accepted.headers.location, `/v1/jobs/${id}`)
    assert.equal(accepted.headers['retry-after'], String(Math.ceil(poll_after_ms / 1000)))

    const waiting = await app.inject(`/v1/jobs/${id}`)
    assert.deepEqual([waiting.statusCode, waiting.json().status], [200, 'queued'])
    assertFault(await app.inject(`/v1/jobs/${id}/images/0`), 409, 'not_ready', 'id')

    await workAll(running)
    const finished = await app.inject(`/v1/jobs/${id}`)
    const { images, request, ...job } = finished.json()
    assert.deepEqual([job.status, request.prompt, request.seed], ['succeeded', 'a red apple', 7])
    assert.equal(finished.headers['retry-after'], undefined)
    const picture = await app.inject(images[0].url)
    assert.equal(picture.body, 'picture of seed 7')
    assert.equal(picture.headers['content-type'], 'image/png')
    assert.equal(picture.headers.etag, `"${images[0].sha256}"`)
    assert.match(String(picture.headers['cache-control']), /^private, max-age=3\d{3}, immutable$/)
    assert.equal(picture.headers['content-disposition'], 'inline; filename="a-red-apple-7.png"')
  })

  test('says with a tag whether anything changed', async (t) => {
    const running = await server(t)
    const { app } = running
    const { id } = (await post(app, { prompt: 'a red apple' })).json()
    const ask = (url: string, tag: string) => app.inject({ url, headers: { 'if-none-match': tag } })
    const tag = String((await app.inject(`/v1/jobs/${id}`)).headers.etag)
    const unchanged = await ask(`/v1/jobs/${id}`, `"other", ${tag}`)
    assert.deepEqual([unchanged.statusCode, unchanged.body], [304, ''])
    assert.ok(unchanged.headers['retry-after'])
    await workAll(running)
    const changed = await ask(`/v1/jobs/${id}`, tag)
    assert.deepEqual([changed.statusCode, changed.json().status], [200, 'succeeded'])
    const image = await app.inject(`/v1/jobs/${id}/images/0`)
    const [{ link }] = (await app.inject(`/v1/jobs/${id}`)).json().images
    const linked = await app.inject(link)
    assert.deepEqual([linked.statusCode, linked.rawPayload], [200, image.rawPayload])
    assert.equal(linked.headers['cross-origin-resource-policy'], 'cross-origin')
    assert.doesNotMatch(JSON.stringify(linked.headers), new RegExp(id))
    assert.equal((await ask(link, String(linked.headers.etag))).statusCode, 304)
    assertFault(await app.inject(`${link}x`), 404, 'not_found', 'link')
    assert.equal((await ask(`/v1/jobs/${id}/images/0`, String(image.headers.etag))).statusCode, 304)
  })

  test('names a downloaded file after its prompt and seed', async (t) => {
    const running = await server(t)
    const names: [string, string][] = [
      ['A RED apple, on "marble"!', 'filename="a-red-apple-on-marble-7.png"'],
      ['caf\u00e9', 'filename="cafe-7.png"; filename*=UTF-8\'\'caf%C3%A9-7.png'],
      ['\u6c34\u679c', 'filename="packshot-7.png"; filename*=UTF-8\'\'%E6%B0%B4%E6%9E%9C-7.png'],
      ['../../etc/passwd', 'filename="etc-passwd-7.png"'],
      ['\u{1f34e}', 'filename="packshot-7.png"'],
    ]
    const ids: string[] = []
    for (const [prompt] of names) ids.push((await post(running.app, { prompt, seed: 7 })).json().id)
    await workAll(running)
    for (const [i, [, name]] of names.entries()) {
      const { headers } = await running.app.inject(`/v1/jobs/${ids[i]}/images/0?download=1`)
      assert.equal(headers['content-disposition'], `attachment; ${name}`)
    }
  })

  test('cancels a job, as often as it is asked to', async (t) => {
    const { app } = await server(t)
    const { id } = (await post(app, { prompt: 'a red apple' })).json()
    const urls = [`/v1/jobs/${id}/cancel`, `/v1/jobs/${id}/cancel`]
    for (const url of urls) {
      const answer = await app.inject({ method: 'POST', url })
      assert.deepEqual([answer.statusCode, answer.json().status], [200, 'canceled'])
    }
    assertFault(await app.inject(`/v1/jobs/${id}/images/0`), 409, 'not_ready', 'id')
  })

  test('DELETE cancels a job that waits, and deletes it when it is repeated', async (t) => {
    const { app } = await server(t)
    const { id } = (await post(app, { prompt: 'a red apple' })).json()
    const remove = async () => {
      const answer = await app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })
      assert.deepEqual([answer.statusCode, answer.json().status], [200, 'canceled'])
    }
    await remove()
    assert.equal((await app.inject(`/v1/jobs/${id}`)).json().request.prompt, 'a red apple')
    await remove()
    assertFault(await app.inject(`/v1/jobs/${id}`), 410, 'deleted', 'id')
  })

  test('canceling leaves a job that has just finished as it is', async (t) => {
    const running = await server(t)
    const { id } = (await post(running.app, { prompt: 'a red apple' })).json()
    await workAll(running)
    const before = (await running.app.inject(`/v1/jobs/${id}`)).json()
    const answer = await running.app.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` })
    assert.deepEqual([before.status, answer.json()], ['succeeded', before])
  })

  test('canceling with `keep` cancels a job that has none, and refuses what is no choice', async (t) => {
    const { app } = await server(t)
    const { id } = (await post(app, { prompt: 'a red apple', count: 2 })).json()
    const cancel = (payload: object) => app.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel`, payload })
    assertFault(await cancel({ keep: 'yes' }), 400, 'invalid_request', 'keep')
    const answer = await cancel({ keep: true })
    assert.deepEqual([answer.statusCode, answer.json().status], [200, 'canceled'])
  })

  test('deletes a finished job with its pictures and prompts, as often as it is asked to', async (t) => {
    const running = await server(t)
    const { app, parts } = running
    const key = { 'idempotency-key': 'order-1-of-a-customer' }
    const { id } = (await post(app, { prompt: 'a secret apple', count: 2 }, key)).json()
    await workAll(running)
    for (let i = 0; i < 2; i += 1) {
      const answer = await app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })
      const { status, request, images } = answer.json()
      assert.deepEqual([answer.statusCode, status, request, images], [200, 'succeeded', undefined, []])
    }
    for (const url of [`/v1/jobs/${id}`, `/v1/jobs/${id}/images/0`, `/v1/jobs/${id}/images/1`]) {
      assertFault(await app.inject(url), 410, 'deleted', 'id')
    }
    assertFault(await post(app, { prompt: 'a secret apple', count: 2 }, key), 410, 'deleted', 'id')
    for (const index of [0, 1]) assert.equal(await parts.images.getImage(id, index, 'png'), undefined)
    assert.doesNotMatch(JSON.stringify(await parts.images.getManifest(id)), /secret/)
    assert.equal(await parts.status.get(id), undefined)
    parts.clock.ahead = 3_600_001
    assertFault(await app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` }), 410, 'expired', 'id')
  })

  test('a caller that asks too often is told so, whatever it asks for; health checks are never counted', async (t) => {
    const { app } = await server(t, () => ({
      requests: memoryRateLimiter(),
      caller: ({ address }: Credentials) =>
        anonymousCaller(address, { requests: { perMinute: 1, burst: 3 } }),
    }))
    const urls = ['/v1/jobs/nothing', '/nowhere', '/v1/models', '/v1/models', '/v1/jobs/nothing']
    const statuses = []
    for (const url of urls) statuses.push((await app.inject(url)).statusCode)
    assert.deepEqual(statuses, [404, 404, 200, 429, 429])
    const refused = await post(app, { prompt: 'an apple' })
    assertFault(refused, 429, 'rate_limited')
    assert.ok(Number(refused.headers['retry-after']) > 10)
    const other = await app.inject({ url: '/v1/models', remoteAddress: '192.0.2.1' })
    assert.deepEqual([other.statusCode, (await app.inject('/healthz/live')).statusCode], [200, 200])
  })

  test('answers the same job to the same Idempotency-Key', async (t) => {
    const { app } = await server(t)
    const key = { 'idempotency-key': 'order-1-of-a-customer' }
    const first = await post(app, { prompt: 'a red apple' }, key)
    const second = await post(app, { prompt: 'a red apple' }, key)
    assert.deepEqual([second.statusCode, second.json().id], [202, first.json().id])
    const other = await post(app, { prompt: 'a pear' }, key)
    assertFault(other, 422, 'idempotency_key_reused', 'Idempotency-Key')
  })

  test('delivers the file that was asked for, under a name that says so', async (t) => {
    const running = await server(t)
    const { app } = running
    const { id } = (await post(app, { prompt: 'a red apple', seed: 7, format: 'jpeg', quality: 80 })).json()
    await workAll(running)
    const picture = await app.inject(`/v1/jobs/${id}/images/0?download=1`)
    assert.equal(picture.headers['content-type'], 'image/jpeg')
    assert.equal(picture.headers['content-disposition'], 'attachment; filename="a-red-apple-7.jpg"')
    const { request } = (await app.inject(`/v1/jobs/${id}`)).json()
    assert.deepEqual([request.format, request.quality], ['jpeg', 80])
  })

  test('waits for the end of a job where the request prefers that, and says for how long', async (t) => {
    const running = await server(t)
    const { app, parts } = running
    const submitted = post(app, { prompt: 'a red apple' }, { prefer: 'respond-async, wait=40' })
    await waitFor(async () => (await parts.queue.depth()) === 1)
    const { id } = (await post(app, { prompt: 'a pear' }, { prefer: 'wait=0' })).json()
    const read = app.inject({ url: `/v1/jobs/${id}`, headers: { prefer: 'wait=999999' } })
    await workAll(running)
    const answers = [await submitted, await read]
    assert.deepEqual(
      answers.map((answer) => [
        answer.statusCode,
        answer.json().status,
        answer.headers['preference-applied'],
      ]),
      [
        [200, 'succeeded', 'wait=40'],
        [200, 'succeeded', 'wait=50'],
      ],
    )
    assert.equal(answers[0]?.headers.location, answers[0]?.json().links.self)
  })

  test('answers 202 when the job is not final after the wait, and ignores a wait that is no number', async (t) => {
    const { app } = await server(t)
    for (const [prefer, applied] of [
      ['wait=0', 'wait=0'],
      ['wait=soon', undefined],
      ['wait=-1', undefined],
      ['await=5', undefined],
    ] as const) {
      const answer = await post(app, { prompt: 'an apple' }, { prefer })
      assert.deepEqual([answer.statusCode, answer.headers['preference-applied']], [202, applied], prefer)
    }
  })

  test('tells how much work waits', async (t) => {
    const { app, parts } = await server(t)
    await post(app, { prompt: 'an apple' })
    await parts.status.heartbeat('worker', 10)
    const answer = await app.inject('/healthz/load')
    assert.deepEqual(answer.json(), { waiting: 1, workers: 1, seconds_per_unit: 10 })
  })

  test('hands on the trace of a request, unless it is malformed', async (t) => {
    const { app, parts } = await server(t)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const zero = `00-${'0'.repeat(32)}-b7ad6b7169203331-01`
    for (const given of [traceparent, zero, 'anything', '']) {
      assert.equal((await post(app, { prompt: 'an apple' }, { traceparent: given })).statusCode, 202)
    }
    const tasks = await collect(parts.queue, 4, (delivery) => delivery.ack())
    assert.deepEqual(
      tasks.map(({ message }) => (message as Task).trace),
      [traceparent, undefined, undefined, undefined],
    )
  })

  test('tells models, limits, health and its own description', async (t) => {
    const { app, state } = await server(t)
    const { models, limits } = (await app.inject('/v1/models')).json()
    assert.deepEqual(
      [models[0].name, models[0].samplers, limits.max_steps],
      ['stand-in', ['dpmpp_2m', 'ddim'], 100],
    )
    assert.equal((await app.inject('/healthz/live')).statusCode, 200)
    assert.equal((await app.inject('/healthz/ready')).statusCode, 200)
    state.ready = false
    assert.equal((await app.inject('/healthz/ready')).statusCode, 503)
    assert.equal((await app.inject('/healthz/live')).statusCode, 200)
    const description = (await app.inject('/openapi.json')).json()
    assert.deepEqual(Object.keys(description.paths).sort(), [
      '/healthz/live',
      '/healthz/load',
      '/healthz/ready',
      '/v1/catalogues',
      '/v1/catalogues/{id}',
      '/v1/catalogues/{id}/cancel',
      '/v1/catalogues/{id}/manifest.csv',
      '/v1/catalogues/{id}/pause',
      '/v1/catalogues/{id}/pictures.zip',
      '/v1/catalogues/{id}/resume',
      '/v1/catalogues/{id}/retry',
      '/v1/catalogues/{id}/rows',
      '/v1/finishes',
      '/v1/jobs',
      '/v1/jobs/{id}',
      '/v1/jobs/{id}/cancel',
      '/v1/jobs/{id}/events',
      '/v1/jobs/{id}/finish',
      '/v1/jobs/{id}/images/{index}',
      '/v1/jobs/{id}/images/{index}/keep',
      '/v1/jobs/{id}/images/{index}/original',
      '/v1/jobs/{id}/images/{index}/thumbnail',
      '/v1/jobs/{id}/preview',
      '/v1/jobs/{id}/webhooks',
      '/v1/jobs/{id}/webhooks/resend',
      '/v1/kept',
      '/v1/kept/{id}',
      '/v1/kept/{id}/image',
      '/v1/kept/{id}/thumbnail',
      '/v1/models',
      '/v1/pictures/{link}',
      '/v1/pictures/{link}/thumbnail',
      '/v1/samplers',
      '/v1/uploads',
      '/v1/uploads/{id}',
      '/v1/webhooks/secret',
    ])
  })

  test('says what the worker beside it holds, once it is ready', async (t) => {
    const parts = embedded(t)
    const holdings = { models: ['stand-in'], provider: 'cpu', profile: 'fast' }
    const state = { ready: true }
    const services = createServices({ ...parts, holdings: () => holdings }, () => state.ready)
    const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
    lastFirst(t).after(() => app.close())
    assert.deepEqual((await app.inject('/healthz/ready')).json(), { status: 'ready', ...holdings })
    state.ready = false
    assert.deepEqual((await app.inject('/healthz/ready')).json(), { status: 'not ready' })
  })

  test('tells what goes with a model, and what its samplers are called', async (t) => {
    const { app } = await server(t)
    const { models, vaes, loras, embeddings, limits } = (await app.inject('/v1/models')).json()
    const { family, clip_layers, images, inpainting, schedules } = models[0]
    assert.deepEqual([family, clip_layers, images, inpainting], ['sd1', 12, true, false])
    assert.deepEqual([schedules, models[0].vaes], [['karras', 'normal', 'leading'], ['sharp-vae']])
    const fits = { family: 'sd1', models: ['stand-in'] }
    assert.deepEqual(vaes, [{ name: 'sharp-vae', ...fits }])
    assert.deepEqual(loras[0], { name: 'detail', ...fits, description: 'More of everything' })
    assert.deepEqual(loras.at(-1), { name: 'big-detail', family: 'sdxl', models: [] })
    assert.deepEqual(embeddings, [{ name: 'EasyNegative', ...fits }])
    assert.deepEqual([limits.max_loras, limits.max_lora_strength, limits.upload_bytes], [5, 2, 200_000])
    const { samplers } = (await app.inject('/v1/samplers?model=stand-in')).json()
    assert.deepEqual(samplers[0], {
      name: 'dpmpp_2m',
      label: 'DPM++ 2M',
      aliases: ['DPMSolverMultistepScheduler'],
      schedules: ['karras', 'normal'],
      default_schedule: 'karras',
    })
    assertFault(await app.inject('/v1/samplers?model=x'), 400, 'invalid_request', 'model')
    assertFault(await app.inject('/v1/samplers?model=x&model=y'), 400, 'invalid_request', 'model')
  })

  test('sends headers that keep answers from running, framing and guessing', async (t) => {
    const { app } = await server(t)
    for (const url of ['/v1/models', '/v1/jobs/x', '/nowhere']) {
      const { headers } = await app.inject(url)
      assert.match(String(headers['content-security-policy']), /default-src 'none'/)
      assert.equal(headers['x-content-type-options'], 'nosniff')
    }
  })
})

suite('bad input', () => {
  const bodies: [string, unknown, string | undefined][] = [
    ['no prompt', {}, 'prompt'],
    ['an empty prompt', { prompt: '' }, 'prompt'],
    ['an over-long prompt', { prompt: 'x'.repeat(2001) }, 'prompt'],
    ['control characters', { prompt: 'a\u0007b' }, 'prompt'],
    ['a size that is no multiple', { prompt: 'x', width: 100 }, 'width'],
    ['a size that is too large', { prompt: 'x', height: 8192 }, 'height'],
    ['no steps', { prompt: 'x', steps: 0 }, 'steps'],
    ['10 000 steps', { prompt: 'x', steps: 10_000 }, 'steps'],
    ['a number beyond all numbers', '{"prompt":"x","guidance_scale":1e999}', 'guidance_scale'],
    ['an unknown sampler', { prompt: 'x', sampler: 'magic' }, 'sampler'],
    ['an unknown LoRA', { prompt: 'x', loras: [{ name: '../x' }] }, 'loras'],
    ['a VAE with a path', { prompt: 'x', vae: '../../etc/passwd' }, 'vae'],
    ['an upload that never was', { prompt: 'x', init_image: '../../etc/passwd' }, 'init_image'],
    ['an unknown field', { prompt: 'x', promt: 'y' }, 'promt'],
    ['a wrong type', { prompt: ['x'] }, 'prompt'],
    ['a list', [], 'body'],
    ['null', 'null', 'body'],
    ['a field called constructor', '{"prompt":"x","toString":1}', 'toString'],
  ]
  for (const [name, body, param] of bodies) {
    test(`is refused with the field's name: ${name}`, async (t) => {
      const { app, parts } = await server(t)
      assertFault(await post(app, body), 400, 'invalid_request', param)
      assert.equal(await parts.queue.depth(), 0)
    })
  }

  test('a body that is no JSON, or none at all, is refused', async (t) => {
    const { app } = await server(t)
    for (const body of [
      '{"prompt":',
      'NaN',
      '{"prompt": NaN}',
      "{'prompt': 'x'}",
      '\ufeff',
      '',
      '{"__proto__":{}}',
    ]) {
      assertFault(await post(app, body), 400, 'invalid_json')
    }
    assertFault(await app.inject({ method: 'POST', url: '/v1/jobs' }), 400, 'invalid_request', 'body')
  })

  test('a body of another content type is refused', async (t) => {
    const { app } = await server(t)
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'nonsense',
    ]) {
      assertFault(await post(app, 'prompt=x', { 'content-type': type }), 415, 'unsupported_media_type')
    }
  })

  test('a body over 64 KiB is refused, one just below is read', async (t) => {
    const { app } = await server(t)
    const body = (bytes: number) => `{"prompt":"${'x'.repeat(bytes - 13)}"}`
    assertFault(await post(app, body(65_537)), 413, 'body_too_large')
    assertFault(await post(app, body(65_536)), 400, 'invalid_request', 'prompt')
  })

  test('an unknown id, an id of another shape, an address that does not exist are 404', async (t) => {
    const { app } = await server(t)
    const { id } = (await post(app, { prompt: 'x' })).json()
    const ids = [
      'x',
      `${id}x`,
      `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`,
      '..%2f..%2fetc',
      '%00',
      'a'.repeat(200),
      '%F0%9F%8D%8E',
    ]
    for (const other of ids) {
      assertFault(await app.inject(`/v1/jobs/${other}`), 404, 'not_found', 'id')
      assertFault(await app.inject(`/v1/jobs/${other}/images/0`), 404, 'not_found', 'id')
      assertFault(await app.inject({ method: 'DELETE', url: `/v1/jobs/${other}` }), 404, 'not_found', 'id')
    }
    for (const index of ['-1', '01', '1e0', 'x', '99999', '0.png']) {
      assertFault(await app.inject(`/v1/jobs/${id}/images/${index}`), 404, 'not_found', 'index')
    }
    for (const url of [
      '/v1',
      '/v1/jobs/',
      '/v2/jobs',
      '/v1/jobs/%zz',
      `/v1/jobs/${'x'.repeat(1000)}`,
      '/nowhere?x=1',
    ]) {
      assertFault(await app.inject(url), 404, 'not_found', url === '/v1/jobs/' ? 'id' : undefined)
    }
  })

  test('a browser that follows a wrong link gets a page, a program JSON', async (t) => {
    const { app } = await server(t)
    const headers = { accept: 'text/html,*/*;q=0.8' }
    const page = await app.inject({ url: '/nowhere', headers })
    assert.equal(page.statusCode, 404)
    assert.match(String(page.headers['content-type']), /^text\/html/)
    assertFault(await app.inject({ url: '/v1/jobs/x', headers }), 404, 'not_found', 'id')
    assertFault(await app.inject({ method: 'POST', url: '/nowhere', headers }), 404, 'not_found')
  })

  test('a method that an address does not have is 405, with those that it has', async (t) => {
    const { app } = await server(t)
    const cases = [
      ['PUT', '/v1/jobs/x', 'DELETE, GET, HEAD'],
      ['PUT', '/v1/jobs', 'GET, HEAD, POST'],
      ['POST', '/v1/models', 'GET, HEAD'],
      ['DELETE', '/v1/jobs/x/images/0', 'GET, HEAD'],
    ] as const
    for (const [method, url, allow] of cases) {
      const response = await app.inject({ method, url })
      assertFault(response, 405, 'method_not_allowed')
      assert.equal(response.headers.allow, allow)
    }
  })

  test('an expired job is 410, with its picture', async (t) => {
    const running = await server(t)
    const { id } = (await post(running.app, { prompt: 'x' })).json()
    await workAll(running)
    running.parts.clock.ahead = 3_600_001
    for (const url of [`/v1/jobs/${id}`, `/v1/jobs/${id}/images/0`]) {
      assertFault(await running.app.inject(url), 410, 'expired', 'id')
    }
  })

  test('a part that is away is 503 with Retry-After; a fault of ours is 500 without its details', async (t) => {
    const away = await server(t, (parts) => ({
      queue: { ...parts.queue, publish: async () => storageIsAway() },
    }))
    const refused = await post(away.app, { prompt: 'x' })
    assertFault(refused, 503, 'unavailable')
    assert.ok(Number(refused.headers['retry-after']) >= 5)
    const unread = await server(t, (parts) => ({
      status: { ...parts.status, get: async () => undefined },
      images: { ...parts.images, getManifest: async () => storageIsAway() },
    }))
    const { id } = (await post(unread.app, { prompt: 'x' })).json()
    for (const method of ['GET', 'DELETE'] as const) {
      const unknown = await unread.app.inject({ method, url: `/v1/jobs/${id}` })
      assertFault(unknown, 503, 'unavailable')
      assert.ok(Number(unknown.headers['retry-after']) >= 1)
    }
    const broken = await server(t, (parts) => ({
      queue: { ...parts.queue, publish: () => Promise.reject(new TypeError('secret')) },
    }))
    const response = await post(broken.app, { prompt: 'x' })
    assertFault(response, 500, 'internal')
    assert.doesNotMatch(response.body, /secret/)
  })

  test('what is no HTTP at all is answered, and the server goes on', async (t) => {
    const { app } = await server(t)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as { port: number }
    for (const text of [
      'nonsense\r\n\r\n',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
    ]) {
      const answer = await new Promise<string>((resolve, reject) => {
        let received = ''
        const socket = connect(port, '127.0.0.1', () => socket.write(text))
        socket.on('data', (chunk) => (received += chunk))
        socket.on('close', () => resolve(received))
        socket.on('error', reject)
      })
      assert.match(answer, /^HTTP\/1\.1 4\d\d /)
      assert.match(answer, /\{"error":\{"code":"invalid_request","message":"/)
    }
    assert.equal((await app.inject('/healthz/live')).statusCode, 200)
  })
})
