import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { ballPng } from '../../../../test/browser/png.ts'
import { quickGenerator } from '../../../../test/jobs/embedded.ts'
import { eventsIn, type Served, served } from '../../../../test/jobs/served.ts'
import { AppError } from '../../../jobs/errors.ts'
import { falWebhookBody } from './answers.ts'

/** fal's queue over the embedded parts, by its own paths and through the proxy address. */

const input = { prompt: 'a red apple', seed: 7 }
const png = Buffer.from(ballPng(64, 64))
const app = 'packshot/stand-in'

type Method = 'GET' | 'POST' | 'PUT'
type Ask = (
  server: Served,
  method: Method,
  target: string,
  body?: object,
  headers?: Record<string, string>,
) => Promise<LightMyRequestResponse>

/** `target` is an address of fal's, without the scheme. */
const byPath: Ask = ({ app }, method, target, body, headers = {}) => {
  const url = target
    .replace(/^queue\.fal\.run/, '/fal/queue')
    .replace(/^fal\.run/, '/fal/run')
    .replace(/^rest\.fal\.ai/, '/fal/rest')
  const type = { 'content-type': 'application/json' }
  return app.inject({ method, url, headers: { ...type, ...headers }, ...(body && { payload: body }) })
}
const byProxy: Ask = ({ app }, method, target, body, headers = {}) => {
  const type = { 'content-type': 'application/json', 'x-fal-target-url': `https://${target}` }
  return app.inject({
    method,
    url: '/fal/proxy',
    headers: { ...type, ...headers },
    ...(body && { payload: body }),
  })
}

const submit = async (server: Served, body: object = input, path = app) =>
  (await byPath(server, 'POST', `queue.fal.run/${path}`, body)).json()

function assertFault(answer: LightMyRequestResponse, status: number, detail: RegExp): void {
  assert.equal(answer.statusCode, status, answer.body)
  const body = answer.json()
  const message =
    status === 422 ? body.detail.map((each: { msg: string }) => each.msg).join(' ') : body.detail
  assert.match(message, detail)
}

for (const [way, ask] of Object.entries({ byPath, byProxy })) {
  suite(`fal's queue, ${way}`, () => {
    test('takes a request, answers its status, and then its output', async (t) => {
      const server = await served(t)
      // what follows owner/alias is dropped in the calls about a request
      const sent = {
        ...input,
        num_images: 2,
        image_size: { width: 256, height: 128 },
        num_inference_steps: 3,
      }
      const queued = await ask(server, 'POST', `queue.fal.run/${app}/text-to-image`, sent)
      assert.equal(queued.statusCode, 200, queued.body)
      const { request_id: id, status, status_url, queue_position } = queued.json()
      assert.deepEqual([status, queue_position], ['IN_QUEUE', 0])
      assert.equal(queued.headers['x-fal-request-id'], id)
      assert.equal((await server.app.inject(status_url)).json().status, 'IN_QUEUE')
      const self = `queue.fal.run/${app}/requests/${id}`
      assertFault(await ask(server, 'GET', self), 409, /still in progress/)
      await server.work()
      const done = await ask(server, 'GET', `${self}/status?logs=1`)
      assert.deepEqual([done.statusCode, done.json().status], [200, 'COMPLETED'])
      assert.match(done.json().logs[0].message, /^100%\|#{10}\| 6\/6 /)
      assert.equal(typeof done.json().metrics.inference_time, 'number')
      assert.deepEqual((await ask(server, 'GET', `${self}/status?logs=0`)).json().logs, [])
      const output = await ask(server, 'GET', self)
      assert.equal(output.headers['x-fal-request-id'], id)
      const { images, seed, prompt, has_nsfw_concepts } = output.json()
      assert.deepEqual([seed, prompt, has_nsfw_concepts], [7, 'a red apple', [false, false]])
      assert.deepEqual([images[1].width, images[1].height, images[1].content_type], [256, 128, 'image/png'])
      assert.equal((await server.app.inject(images[1].url)).body, 'picture of seed 8')
      assert.equal((await server.app.inject(`/v1/jobs/${id}`)).json().status, 'succeeded')
    })

    test('streams statuses until the last', async (t) => {
      const server = await served(t)
      const { request_id: id } = await submit(server)
      const answer = await server.working(() =>
        ask(server, 'GET', `queue.fal.run/${app}/requests/${id}/status/stream?logs=1`),
      )
      const statuses = eventsIn(answer.body).map(({ data }) => JSON.parse(data).status)
      assert.equal(statuses.at(-1), 'COMPLETED')
      assert.equal(statuses.filter((each) => each === 'COMPLETED').length, 1)
    })

    test('cancels with an empty body, and says when it is too late', async (t) => {
      const server = await served(t)
      const { request_id: id } = await submit(server)
      const cancel = (id: string) => ask(server, 'PUT', `queue.fal.run/${app}/requests/${id}/cancel`)
      for (let i = 0; i < 2; i += 1) {
        const answer = await cancel(id)
        assert.deepEqual([answer.statusCode, answer.json()], [202, { status: 'CANCELLATION_REQUESTED' }])
      }
      const { request_id: finished } = await submit(server)
      await server.work()
      const late = await cancel(finished)
      assert.deepEqual([late.statusCode, late.json()], [400, { status: 'ALREADY_COMPLETED' }])
      assertFault(await ask(server, 'GET', `queue.fal.run/${app}/requests/${id}`), 409, /was canceled/)
      assertFault(await cancel('n'.repeat(26)), 404, /no job with this id/)
    })

    test('runs a request while the client waits', async (t) => {
      const server = await served(t)
      const made = await server.working(() => ask(server, 'POST', `fal.run/${app}`, input))
      assert.equal(made.statusCode, 200, made.body)
      assert.equal((await server.app.inject(made.json().images[0].url)).body, 'picture of seed 7')
      const late = await ask(server, 'POST', `fal.run/${app}`, input, { 'x-fal-request-timeout': '0.01' })
      assertFault(late, 504, /It continues/)
      assert.equal(late.headers['x-fal-request-timeout-type'], 'user')
      assert.match(String(late.headers['x-job-id']), /^\w{42}$/)
    })

    test('takes uploads at an address that needs no key, once and not for long', async (t) => {
      const server = await served(t)
      const initiate = (content_type: string) =>
        ask(server, 'POST', 'rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3', {
          content_type,
          file_name: 'a.png',
        })
      const begun = await initiate('image/png')
      assert.equal(begun.statusCode, 200, begun.body)
      const { upload_url, file_url } = begun.json()
      const put = (url: string, payload: Buffer = png) =>
        server.app.inject({ method: 'PUT', url, headers: { 'content-type': 'image/png' }, payload })
      assertFault(
        await ask(server, 'POST', `queue.fal.run/${app}`, { ...input, image_url: file_url }),
        422,
        /was deleted/,
      )
      assertFault(await put(upload_url, Buffer.from('GIF89a')), 422, /PNG, JPEG or WebP/)
      assertFault(await put(upload_url.replace('grant=', 'grant=A')), 404, /nothing at this address/)
      const other = (await initiate('image/png')).json().upload_url
      const [, grant] = String(other).split('?')
      assertFault(await put(`${String(upload_url).split('?')[0]}?${grant}`), 404, /nothing at this address/)
      for (let i = 0; i < 2; i += 1) assert.equal((await put(upload_url)).statusCode, 200)
      assert.equal((await server.app.inject(file_url)).headers['content-type'], 'image/png')
      const body = { ...input, image_url: file_url, mask_url: file_url, strength: 0.5 }
      const queued = await ask(server, 'POST', `queue.fal.run/${app}/image-to-image`, body)
      const { request } = (await server.app.inject(`/v1/jobs/${queued.json().request_id}`)).json()
      assert.ok(file_url.endsWith(request.init_image))
      assert.equal(request.strength, 0.5)
      assertFault(await initiate('video/mp4'), 415, /must be one of image\/png/)
      assertFault(
        await ask(server, 'POST', 'rest.fal.ai/storage/upload/initiate-multipart', {}),
        413,
        /at most/,
      )
      assertFault(await ask(server, 'POST', 'rest.fal.ai/tokens'), 404, /nothing at tokens/)
      server.parts.clock.ahead = 16 * 60_000
      assertFault(await put(other), 404, /not any more/)
    })
  })
}

suite('requests that cannot be used', () => {
  const cases: [string, object, readonly string[], RegExp][] = [
    ['no prompt', {}, ['body', 'prompt'], /prompt is missing/],
    ['an empty prompt', { prompt: '' }, ['body', 'prompt'], /was empty/],
    ['a body for Replicate', { input }, ['body', 'prompt'], /without "input" around it/],
    ['a size of another name', { ...input, image_size: 'huge' }, ['body', 'image_size'], /was "huge"/],
    ['a size of one side', { ...input, image_size: { width: 7 } }, ['body', 'width'], /from 64/],
    ['a scheduler of another name', { ...input, scheduler: 'Euler B' }, ['body', 'scheduler'], /"Euler B"/],
    ['ten pictures', { ...input, num_images: 10 }, ['body', 'num_images'], /from 1 to 4/],
    [
      'a LoRA at an address',
      { ...input, loras: [{ path: 'https://x/y', scale: 1 }] },
      ['body', 'loras'],
      /https:\/\/x\/y/,
    ],
    [
      'a picture elsewhere',
      { ...input, image_url: 'https://x.example/a.png' },
      ['body', 'image_url'],
      /not fetched/,
    ],
    [
      'a picture that is none',
      { ...input, image_url: 'data:image/png;base64,AAAA' },
      ['body', 'image_url'],
      /PNG, JPEG/,
    ],
  ]
  for (const [name, body, loc, message] of cases) {
    test(`${name}: 422 with the place of the fault, and nothing is done`, async (t) => {
      const server = await served(t)
      const answer = await byPath(server, 'POST', `queue.fal.run/${app}`, body)
      assertFault(answer, 422, message)
      assert.deepEqual(answer.json().detail[0].loc, loc)
      assert.equal(await server.parts.queue.depth(), 0)
    })
  }

  test('an app that is no model, a path that is none, a method that is wrong', async (t) => {
    const server = await served(t)
    const { request_id: id } = await submit(server)
    assertFault(
      await byPath(server, 'POST', 'queue.fal.run/fal-ai/flux', input),
      404,
      /no model "flux".*stand-in/,
    )
    assertFault(await byPath(server, 'POST', 'queue.fal.run/stand-in', input), 404, /nothing at stand-in/)
    assertFault(await byPath(server, 'GET', `queue.fal.run/${app}/requests/${id}/nothing`), 404, /nothing at/)
    assertFault(await byPath(server, 'GET', `queue.fal.run/${app}`), 405, /allowed: POST/)
    assertFault(
      await byPath(server, 'POST', `queue.fal.run/${app}/requests/${id}/cancel`),
      405,
      /allowed: PUT/,
    )
    assertFault(
      await byPath(server, 'GET', `queue.fal.run/${app}/requests/${'n'.repeat(26)}/status`),
      404,
      /no job/,
    )
    assertFault(await byPath(server, 'GET', `queue.fal.run/${app}/requests/%0d%0ax: y/status`), 404, /no job/)
  })

  test('a target of the proxy that is not one of fal is refused, never fetched', async (t) => {
    const server = await served(t)
    for (const target of [
      'http://169.254.169.254/',
      'https://queue.fal.run.example.com/a/b',
      'queue.fal.run/a',
      '',
    ]) {
      const headers = { 'content-type': 'application/json', 'x-fal-target-url': target }
      const answer = await server.app.inject({ method: 'POST', url: '/fal/proxy', headers, payload: input })
      assertFault(answer, 422, /x-fal-target-url must be an address of queue\.fal\.run/)
      assert.deepEqual(answer.json().detail[0].loc, ['header', 'x-fal-target-url'])
    }
    const none = await server.app.inject({ url: '/fal/proxy' })
    assertFault(none, 422, /was missing/)
  })
})

test('names of sizes, a low priority, and fields that nobody here knows', async (t) => {
  const server = await served(t)
  const body = {
    ...input,
    image_size: 'landscape_16_9',
    format: 'jpg',
    loras: [{ path: 'detail', scale: 0.5 }],
    enable_safety_checker: true,
    sync_mode: false,
    mask_url: null,
  }
  const low = { 'x-fal-queue-priority': 'low' }
  const { request_id: id } = (await byPath(server, 'POST', `queue.fal.run/${app}`, body, low)).json()
  const { request } = (await server.app.inject(`/v1/jobs/${id}`)).json()
  assert.deepEqual(
    [request.width, request.height, request.format, request.loras],
    [1024, 576, 'jpeg', [{ name: 'detail', strength: 0.5 }]],
  )
  // one that comes later goes first
  await submit(server, { ...input, prompt: 'a green apple' })
  const made: string[] = []
  await server.work(quickGenerator((step, prompt) => void (step === 1 && made.push(prompt))))
  assert.deepEqual(made, ['a green apple', 'a red apple'])
})

test('a webhook is told of the end in the format of fal', async (t) => {
  const server = await served(t)
  const at = (url: string) => `queue.fal.run/${app}?fal_webhook=${encodeURIComponent(url)}`
  for (const ask of [byPath, byProxy]) {
    const { request_id: id } = (await ask(server, 'POST', at('https://shop.test/hook'), input)).json()
    const { webhook } = (await server.parts.status.get(id)) ?? {}
    assert.deepEqual(webhook, { url: 'https://shop.test/hook', form: 'fal', base: 'http://localhost:80' })
    const refused = await ask(server, 'POST', at('http://169.254.169.254/'), input)
    assertFault(refused, 422, /webhook/)
    assert.deepEqual(refused.json().detail[0].loc, ['query', 'fal_webhook'])
  }
})

test('a request that failed is COMPLETED, and its result 500: its client repeats 502 to 504', async (t) => {
  const server = await served(t)
  const { request_id: id } = await submit(server)
  await server.work(
    quickGenerator(() => {
      throw new AppError('too_large', 'The picture needs 9 GB.')
    }),
  )
  const self = `queue.fal.run/${app}/requests/${id}`
  const { status, error } = (await byPath(server, 'GET', `${self}/status`)).json()
  assert.deepEqual([status, error], ['COMPLETED', 'The picture needs 9 GB.'])
  assertFault(await byPath(server, 'GET', self), 500, /9 GB/)
  const view = (await server.app.inject(`/v1/jobs/${id}`)).json()
  assert.deepEqual(falWebhookBody(view, { base: 'https://a.example' }), {
    request_id: id,
    gateway_request_id: id,
    status: 'ERROR',
    error: 'The picture needs 9 GB.',
    payload: { detail: 'The picture needs 9 GB.' },
  })
})
