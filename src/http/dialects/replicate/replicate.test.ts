import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { parseProgressFromLogs } from 'replicate'
import { ballPng } from '../../../../test/browser/png.ts'
import { quickGenerator } from '../../../../test/jobs/embedded.ts'
import { eventsIn, type Served, served } from '../../../../test/jobs/served.ts'
import { waitFor } from '../../../../test/kit/waiting.ts'
import { AppError } from '../../../jobs/errors.ts'
import { replicateWebhookBody } from './prediction.ts'

/** Replicate's API over the embedded parts. Longer than most files: one place shows every bad input and its answer. */

const input = { prompt: 'a red apple', seed: 7 }
const ofModel = '/v1/models/packshot/stand-in/predictions'
const png = Buffer.from(ballPng(64, 64))
const dataAddress = `data:image/png;base64,${png.toString('base64')}`

const post = ({ app }: Served, url: string, body: object = {}, headers: Record<string, string> = {}) =>
  app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: body,
  })

async function upload({ app }: Served, bytes = png, name = 'content') {
  const form = new FormData()
  form.append(name, new Blob([new Uint8Array(bytes)], { type: 'application/octet-stream' }), 'in.png')
  form.append('metadata', new Blob(['{}'], { type: 'application/json' }))
  const encoded = new Response(form)
  return app.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { 'content-type': String(encoded.headers.get('content-type')) },
    payload: Buffer.from(await encoded.arrayBuffer()),
  })
}

function assertFault(answer: LightMyRequestResponse, status: number, detail: RegExp): void {
  assert.equal(answer.statusCode, status, answer.body)
  const body = answer.json()
  assert.equal(body.status, status)
  assert.match(body.detail, detail)
  assert.ok(body.title.length > 3)
  assert.equal(answer.headers['cache-control'], 'no-store')
}

suite('predictions', () => {
  test('begin at once, are read until they succeed, and link to pictures that need no key', async (t) => {
    const server = await served(t)
    const { app } = server
    const created = await post(server, ofModel, {
      input: { ...input, num_outputs: 2, num_inference_steps: 3 },
    })
    assert.equal(created.statusCode, 201, created.body)
    const first = created.json()
    assert.deepEqual(
      [first.status, first.output, first.error, first.model, first.started_at],
      ['starting', null, null, 'packshot/stand-in', null],
    )
    assert.equal(first.urls.get, `http://localhost:80/v1/predictions/${first.id}`)
    assert.equal((await app.inject(`/v1/jobs/${first.id}`)).json().id, first.id)
    await server.work()
    const last = (await app.inject(first.urls.get)).json()
    assert.equal(last.status, 'succeeded')
    assert.equal(last.output.length, 2)
    for (const [index, address] of last.output.entries()) {
      assert.equal((await app.inject(address)).body, `picture of seed ${7 + index}`)
    }
    assert.equal(typeof last.metrics.predict_time, 'number')
    assert.ok(last.started_at && last.completed_at)
    assert.deepEqual(
      [last.input.prompt, last.input.num_outputs, last.input.num_inference_steps],
      ['a red apple', 2, 3],
    )
    assert.deepEqual(parseProgressFromLogs(last), { percentage: 1, current: 6, total: 6 })
    assert.equal(last.version, (await app.inject('/v1/models/packshot/stand-in')).json().latest_version.id)
  })

  test('are answered when they are done if the client waits, and as starting if that takes too long', async (t) => {
    const server = await served(t)
    const held = Promise.withResolvers<void>()
    const running = Promise.withResolvers<void>()
    const slow = quickGenerator(async () => {
      running.resolve()
      await held.promise
    })
    await server.working(async () => {
      const late = await post(server, ofModel, { input }, { prefer: 'wait=1' })
      await running.promise
      // its client takes "processing" for the end
      assert.deepEqual([late.statusCode, late.json().status], [202, 'starting'])
      const id = late.json().id
      await waitFor(
        async () => (await server.app.inject(`/v1/predictions/${id}`)).json().status === 'processing',
      )
      held.resolve()
      const done = await post(server, ofModel, { input }, { prefer: 'wait' })
      assert.deepEqual([done.statusCode, done.json().status], [201, 'succeeded'])
    }, slow)
  })

  test('are canceled, with an empty body of the type JSON, and stay as they are once they are done', async (t) => {
    const server = await served(t)
    const { id } = (await post(server, ofModel, { input })).json()
    const cancel = (id: string) =>
      server.app.inject({
        method: 'POST',
        url: `/v1/predictions/${id}/cancel`,
        headers: { 'content-type': 'application/json' },
      })
    for (let i = 0; i < 2; i += 1) {
      const answer = await cancel(id)
      assert.deepEqual([answer.statusCode, answer.json().id, answer.json().status], [200, id, 'canceled'])
    }
    const done = (await post(server, ofModel, { input })).json()
    await server.work()
    assert.equal((await cancel(done.id)).json().status, 'succeeded')
    assertFault(await cancel('n'.repeat(26)), 404, /no job with this id/)
  })

  test('that fail say why, and so does their webhook', async (t) => {
    const server = await served(t)
    const { id, urls } = (await post(server, ofModel, { input })).json()
    await server.work(
      quickGenerator(() => {
        throw new AppError('too_large', 'The picture needs 9 GB.')
      }),
    )
    const failed = (await server.app.inject(`/v1/predictions/${id}`)).json()
    assert.deepEqual(
      [failed.status, failed.output, failed.error],
      ['failed', null, 'The picture needs 9 GB.'],
    )
    const events = eventsIn((await server.app.inject(urls.stream)).body)
    assert.deepEqual(
      events.map(({ event }) => event),
      ['error', 'done'],
    )
    const view = (await server.app.inject(`/v1/jobs/${id}`)).json()
    const body = JSON.parse(JSON.stringify(replicateWebhookBody(view, { base: 'https://a.example' })))
    assert.deepEqual([body.id, body.status, body.error], [id, 'failed', 'The picture needs 9 GB.'])
    assert.equal(body.urls.get, `https://a.example/v1/predictions/${id}`)
    assert.equal(body.urls.stream, undefined)
  })

  test('stream their progress, each picture and the end to whoever has the address', async (t) => {
    const server = await served(t)
    const { urls, id } = (await post(server, ofModel, { input: { ...input, num_outputs: 2 } })).json()
    assert.ok(!urls.stream.includes(id))
    const answer = await server.working(() => server.app.inject(urls.stream))
    assert.match(String(answer.headers['content-type']), /^text\/event-stream/)
    const events = eventsIn(answer.body)
    const output = events.filter(({ event }) => event === 'output')
    assert.equal(output.length, 2)
    assert.equal((await server.app.inject(String(output[0]?.data))).body, 'picture of seed 7')
    assert.deepEqual(events.at(-1), { event: 'done', data: '{}' })
    assertFault(await server.app.inject(`${urls.stream}x`), 404, /nothing at this address/)
    assertFault(await server.app.inject('/v1/streams/x'), 404, /nothing at this address/)
  })

  test('of a version are of the model that it names, any other 64 digits are of the default', async (t) => {
    const server = await served(t)
    const { latest_version } = (await server.app.inject('/v1/models/anybody/stand-in')).json()
    const { Input } = latest_version.openapi_schema.components.schemas
    assert.ok('num_inference_steps' in Input.properties && 'image' in Input.properties)
    for (const version of [
      '0'.repeat(64),
      latest_version.id,
      'stand-in',
      'packshot/stand-in',
      `a/stand-in:${'1'.repeat(64)}`,
    ]) {
      const answer = await post(server, '/v1/predictions', { version, input })
      assert.deepEqual([answer.statusCode, answer.json().model], [201, 'packshot/stand-in'], version)
    }
    for (const version of [
      'sdxl',
      'stability-ai/sdxl',
      `stability-ai/sdxl:${'1'.repeat(64)}`,
      '',
      7,
      undefined,
    ]) {
      const answer = await post(server, '/v1/predictions', { version, input })
      assertFault(answer, 422, /version must be a model \(stand-in\) or 64 hexadecimal digits/)
    }
    assertFault(
      await post(server, '/v1/models/stability-ai/sdxl/predictions', { input }),
      404,
      /no model "sdxl"/,
    )
    assertFault(await server.app.inject('/v1/models/stability-ai/sdxl'), 404, /no model "sdxl"/)
    assert.equal((await post(server, '/v1/deployments/me/stand-in/predictions', { input })).statusCode, 201)
  })

  test('have no list for callers without a key', async (t) => {
    const server = await served(t)
    await post(server, ofModel, { input })
    assert.deepEqual((await server.app.inject('/v1/predictions')).json().results, [])
  })

  test('tell a webhook of their end, unless it wants to hear of something else only', async (t) => {
    const server = await served(t)
    const wanted = async (body: object) => {
      const answer = await post(server, ofModel, { input, ...body })
      assert.equal(answer.statusCode, 201, answer.body)
      return (await server.parts.status.get(answer.json().id))?.webhook
    }
    const webhook = 'https://shop.test/hook?for=7'
    const kept = { url: webhook, form: 'replicate', base: 'http://localhost:80' }
    assert.deepEqual(await wanted({ webhook }), kept)
    const events = ['start', 'completed']
    assert.deepEqual(await wanted({ webhook, webhook_events_filter: events }), kept)
    assert.equal(await wanted({ webhook, webhook_events_filter: ['start', 'logs'] }), undefined)
    assert.equal(await wanted({}), undefined)
    for (const wrong of ['http://169.254.169.254/', 'shop', 7]) {
      const answer = await post(server, ofModel, { input, webhook: wrong })
      assertFault(answer, 422, /webhook/)
      assert.equal(answer.json().invalid_fields[0].field, 'webhook')
    }
    const { key } = (await server.app.inject('/v1/webhooks/default/secret')).json()
    assert.match(key, /^whsec_[A-Za-z0-9+/=]{32,}$/)
  })

  test('that are sent again with a key are the same prediction', async (t) => {
    const server = await served(t)
    const key = { 'idempotency-key': 'order-1-of-a-customer' }
    const body = { input: { ...input, image: dataAddress } }
    const [one, two] = [await post(server, ofModel, body, key), await post(server, ofModel, body, key)]
    assert.equal(one.json().id, two.json().id)
    assertFault(await post(server, ofModel, { input }, key), 422, /different request/)
  })
})

suite('pictures to start from', () => {
  test('are a data: address, a file, an upload, or the picture of an earlier prediction', async (t) => {
    const server = await served(t)
    const file = await upload(server)
    assert.equal(file.statusCode, 201, file.body)
    const { id, urls, size } = file.json()
    assert.equal(urls.get, `http://localhost:80/v1/files/${id}`)
    assert.equal((await server.app.inject(urls.get)).json().size, size)
    const { id: earlier } = (await post(server, ofModel, { input })).json()
    await server.work({
      async *generate() {
        yield { bytes: png, width: 64, height: 64, seed: 7 }
      },
      async close() {},
    })
    const [picture] = (await server.app.inject(`/v1/predictions/${earlier}`)).json().output
    const addresses = [dataAddress, urls.get, `http://localhost:80/v1/uploads/${id}`, picture]
    for (const image of addresses) {
      const asked = { ...input, image, mask: dataAddress, prompt_strength: 0.5 }
      const answer = await post(server, ofModel, { input: asked })
      assert.equal(answer.statusCode, 201, answer.body)
      const { request } = (await server.app.inject(`/v1/jobs/${answer.json().id}`)).json()
      assert.ok(request.init_image && request.mask)
      assert.equal(request.strength, 0.5)
    }
    await server.work()
    const deleted = await server.app.inject({ method: 'DELETE', url: `/v1/files/${id}` })
    assert.equal(deleted.statusCode, 204)
    assertFault(await server.app.inject(urls.get), 410, /deleted/)
    assertFault(await post(server, ofModel, { input: { ...input, image: urls.get } }), 422, /deleted/)
  })

  test('at any other address are never fetched', async (t) => {
    const server = await served(t)
    for (const image of [
      'https://example.com/a.png',
      'http://169.254.169.254/latest/meta-data',
      '//localhost/a.png',
      'HTTP://localhost:80/v1/jobs/x',
      'http://localhost:80.example.com/v1/files/x',
      'file:///etc/passwd',
      'ftp://localhost/a.png',
    ]) {
      assertFault(await post(server, ofModel, { input: { ...input, image } }), 422, /not fetched/)
    }
    assert.equal(await server.parts.queue.depth(), 0)
  })

  test('that are none are refused by name', async (t) => {
    const server = await served(t)
    const wrong: [string, number, RegExp][] = [
      ['data:image/png;base64,%%%', 422, /image is not base64/],
      ['data:image/png,abc', 422, /in base64/],
      ['data:text/plain;base64,aGVsbG8=', 422, /must be a PNG, JPEG or WebP/],
      [`data:image/png;base64,${png.subarray(0, 200).toString('base64')}`, 422, /image/],
      ['http://localhost:80/v1/files/nothing', 422, /never issued/],
      ['http://localhost:80/v1/pictures/nothing', 404, /no picture with this link/],
    ]
    for (const [image, status, detail] of wrong) {
      assertFault(await post(server, ofModel, { input: { ...input, image } }), status, detail)
    }
    const large = `data:image/png;base64,${Buffer.alloc(250_000).toString('base64')}`
    assertFault(
      await post(server, ofModel, { input: { ...input, image: large } }),
      413,
      /at most 200000 bytes/,
    )
    const larger = Buffer.alloc(2_000_000, 0x20)
    const endless = await server.app.inject({
      method: 'POST',
      url: ofModel,
      headers: { 'content-type': 'application/json' },
      payload: larger,
    })
    assertFault(endless, 413, /body must have at most \d+ bytes/)
    assertFault(await upload(server, png, 'file'), 422, /content is missing/)
    assertFault(await upload(server, Buffer.from('GIF89a')), 422, /PNG, JPEG or WebP/)
    assertFault(await post(server, '/v1/files', {}), 415, /multipart\/form-data/)
    const broken = await server.app.inject({
      method: 'POST',
      url: '/v1/files',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      payload: '--x\r\nnothing',
    })
    assertFault(broken, 422, /not a complete multipart form/)
    assert.equal(await server.parts.queue.depth(), 0)
  })
})

suite('bad input', () => {
  const cases: [string, object, string, RegExp][] = [
    ['no prompt', { input: { width: 256 } }, 'input.prompt', /prompt is missing/],
    ['an empty prompt', { input: { prompt: ' ' } }, 'input.prompt', /was empty/],
    [
      'a scheduler of another name',
      { input: { ...input, scheduler: 'K_DPM_2' } },
      'input.scheduler',
      /"K_DPM_2"/,
    ],
    ['a size', { input: { ...input, width: 100 } }, 'input.width', /multiple of 16/],
    ['ten pictures', { input: { ...input, num_outputs: 10 } }, 'input.num_outputs', /from 1 to 4/],
    [
      'steps as text',
      { input: { ...input, num_inference_steps: '20' } },
      'input.num_inference_steps',
      /"20"/,
    ],
    ['a list as a prompt', { input: { prompt: ['a'] } }, 'input.prompt', /was a list/],
    ['a mask alone', { input: { ...input, mask: dataAddress } }, 'input.mask', /requires init_image/],
    ['a LoRA of another name', { input: { ...input, lora_weights: 'x/y' } }, 'input.loras', /no LoRA "x\/y"/],
    ['no input', {}, 'input', /input must be an object .* was missing/],
    ['a body for OpenAI', { model: 'stand-in', prompt: 'a', size: '256x256' }, 'input', /was missing/],
    ['input as text', { input: 'a red apple' }, 'input', /was "a red apple"/],
    ['the client itself', { input: { auth: 'r8_secret', baseUrl: 'x' } }, 'input', /data-uri/],
  ]
  for (const [name, body, field, detail] of cases) {
    test(`${name} is refused, and nothing is done`, async (t) => {
      const server = await served(t)
      const answer = await post(server, ofModel, body)
      assertFault(answer, 422, detail)
      assert.ok(
        answer.json().invalid_fields.some((each: { field: string }) => each.field === field),
        answer.body,
      )
      assert.ok(!answer.body.includes('r8_secret'))
      assert.equal(await server.parts.queue.depth(), 0)
    })
  }

  test('what is no JSON, and fields that nobody here knows', async (t) => {
    const server = await served(t)
    const send = (payload: string, type = 'application/json') =>
      server.app.inject({ method: 'POST', url: ofModel, headers: { 'content-type': type }, payload })
    assertFault(await send('{'), 400, /not valid JSON/)
    assertFault(await send('prompt=a', 'text/plain'), 415, /application\/json/)
    assertFault(await send('[]'), 422, /JSON object/)
    const extra = { ...input, refine: 'no_refiner', apply_watermark: false, scheduler: null, seed: null }
    assert.equal((await post(server, ofModel, { input: extra, stream: true })).statusCode, 201)
  })

  test('a scheduler, a format and a LoRA by the names that are used there', async (t) => {
    const server = await served(t)
    const asked = { scheduler: 'KarrasDPM', output_format: 'jpg', output_quality: 80, lora_weights: 'detail' }
    const { id } = (await post(server, ofModel, { input: { ...input, ...asked, lora_scale: 0.5 } })).json()
    const { request } = (await server.app.inject(`/v1/jobs/${id}`)).json()
    assert.deepEqual(
      [request.sampler, request.schedule, request.format, request.quality],
      ['dpmpp_2m', 'karras', 'jpeg', 80],
    )
    assert.deepEqual(request.loras, [{ name: 'detail', strength: 0.5 }])
    // forms there send a quality with every format
    const png = { ...input, output_format: 'png', output_quality: 80, prompt_strength: 0.8 }
    assert.equal((await post(server, ofModel, { input: png })).statusCode, 201)
  })

  test('a queue that cannot be reached says when to try again', async (t) => {
    const away = () => {
      throw new AppError('unavailable', 'The queue is away.', { retryAfterSeconds: 7 })
    }
    const server = await served(t, (parts) => ({ queue: { ...parts.queue, publish: away } }))
    const answer = await post(server, ofModel, { input })
    assertFault(answer, 503, /Try again in \d+ seconds/)
    assert.ok(Number(answer.headers['retry-after']) > 0)
  })
})
