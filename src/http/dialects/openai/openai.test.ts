import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { lastFirst } from '../../../../test/cleanup.ts'
import {
  type DialectServer,
  dialectServer,
  multipart,
  pngFile,
} from '../../../../test/jobs/dialect-server.ts'
import { waitFor } from '../../../../test/kit/waiting.ts'
import { AppError } from '../../../jobs/errors.ts'
import { keepPreview } from '../../../jobs/previews.ts'

/** What OpenAI's client library cannot be made to send, or to show. test/service/clients.test.ts runs the library. */

const generations = '/v1/images/generations'
const asked = { model: 'stand-in', prompt: 'a red apple' }
/** The picture that the stand-in makes of a seed, as it is in an answer. */
const picture = (seed: number) => ({ b64_json: Buffer.from(`picture of seed ${seed}`).toString('base64') })

function assertFault(
  answer: LightMyRequestResponse,
  status: number,
  code: string,
  param: string | null = null,
) {
  assert.equal(answer.statusCode, status, answer.body)
  const { error, ...rest } = answer.json()
  assert.deepEqual([error.code, error.param, rest], [code, param, {}])
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type'])
  assert.match(String(answer.headers['content-type']), /^application\/json/)
  assert.match(String(answer.headers['x-request-id']), /./)
}

const jobIds = (answer: LightMyRequestResponse) => String(answer.headers['x-job-id']).split(', ')

suite('generations', () => {
  test('answers with the pictures of an ordinary job, whose id is in a header', async (t) => {
    const { app, post } = await dialectServer(t)
    const answer = await post(generations, {
      ...asked,
      seed: 7,
      n: 2,
      size: '256x128',
      output_format: 'webp',
    })
    assert.equal(answer.statusCode, 200, answer.body)
    const { data, created, ...rest } = answer.json()
    assert.deepEqual(data, [picture(7), picture(8)])
    assert.ok(Math.abs(created - Date.now() / 1000) < 600)
    assert.deepEqual([rest.size, rest.output_format, rest.usage.total_tokens], ['256x128', 'webp', 0])
    const job = (await app.inject(`/v1/jobs/${jobIds(answer)[0]}`)).json()
    assert.deepEqual([job.status, job.request.seed, job.request.format], ['succeeded', 7, 'webp'])
  })

  test('answers with absolute addresses that need no key', async (t) => {
    const { app, post } = await dialectServer(t)
    const answer = await post(
      generations,
      { ...asked, seed: 7, response_format: 'url' },
      { host: 'localhost:1234' },
    )
    const { url } = answer.json().data[0]
    assert.match(url, /^http:\/\/localhost:1234\/v1\/pictures\/[\w-]+$/)
    assert.equal((await app.inject(new URL(url).pathname)).body, 'picture of seed 7')
  })

  test('more pictures than a job may have become several jobs with the seeds of one', async (t) => {
    const { post } = await dialectServer(t)
    const answer = await post(generations, { ...asked, seed: 2 ** 32 - 2, n: 10 })
    const seeds = [2 ** 32 - 2, 2 ** 32 - 1, 0, 1, 2, 3, 4, 5, 6, 7]
    assert.deepEqual(answer.json().data, seeds.map(picture))
    assert.equal(jobIds(answer).length, 3)
    const free = await post(generations, { ...asked, n: 5 })
    assert.equal(new Set(free.json().data.map(({ b64_json }: { b64_json: string }) => b64_json)).size, 5)
  })

  test('all jobs of a call are accepted, or none', async (t) => {
    const { post, parts } = await dialectServer(t, { works: false, queueMax: 1 })
    const answer = await post(generations, { ...asked, n: 5 })
    assertFault(answer, 503, 'queue_full')
    assert.ok(Number(answer.headers['retry-after']) >= 1)
    assert.equal(answer.headers['x-should-retry'], undefined)
    assert.equal(await parts.queue.depth(), 0)
  })

  test('other programs` names of settings are understood, and what has no meaning here is ignored', async (t) => {
    const { app, post } = await dialectServer(t)
    const answer = await post(generations, {
      prompt: 'a red apple',
      num_inference_steps: 3,
      cfg_scale: 4,
      negative_prompt: 'blur',
      sampler: 'DPM++ 2M Karras',
      size: 'auto',
      quality: 'high',
      style: 'vivid',
      user: 'u',
      background: 'auto',
      moderation: 'low',
      output_compression: 100,
      partial_images: 2,
      seed: null,
      unheard_of: { of: [1] },
    })
    assert.equal(answer.statusCode, 200, answer.body)
    const { request } = (await app.inject(`/v1/jobs/${jobIds(answer)[0]}`)).json()
    const { steps, guidance_scale, negative_prompt, sampler, schedule, width } = request
    assert.deepEqual(
      [steps, guidance_scale, negative_prompt, sampler, schedule, width],
      [3, 4, 'blur', 'dpmpp_2m', 'karras', 256],
    )
  })

  test('every fault is named in the fields of the request', async (t) => {
    const { post, app } = await dialectServer(t)
    const wrong: [unknown, string, string | null, RegExp?][] = [
      [{}, 'invalid_request', 'prompt'],
      [{ prompt: '' }, 'invalid_request', 'prompt'],
      [{ prompt: ['a'] }, 'invalid_request', 'prompt', /a list/],
      [{ ...asked, model: 'gpt-image-2' }, 'model_not_found', 'model', /stand-in/],
      [{ ...asked, size: '99999x7' }, 'invalid_request', 'size', /99999/],
      [{ ...asked, size: 'large' }, 'invalid_request', 'size', /WIDTHxHEIGHT/],
      [{ ...asked, n: 11 }, 'invalid_request', 'n', /from 1 to 10/],
      [{ ...asked, n: '2' }, 'invalid_request', 'n'],
      [{ ...asked, n: 0 }, 'invalid_request', 'n'],
      [{ ...asked, output_format: 'gif' }, 'invalid_request', 'output_format', /png, jpeg, webp/],
      [{ ...asked, output_format: 'jpeg', output_compression: 101 }, 'invalid_request', 'output_compression'],
      [{ ...asked, background: 'transparent' }, 'invalid_request', 'background'],
      [{ ...asked, response_format: 'file' }, 'invalid_request', 'response_format'],
      [{ ...asked, partial_images: 4 }, 'invalid_request', 'partial_images'],
      [{ ...asked, stream: 'yes' }, 'invalid_request', 'stream'],
      [{ ...asked, sampler: 'Nonesuch' }, 'invalid_request', 'sampler'],
      [{ ...asked, seed: 1.5 }, 'invalid_request', 'seed'],
      // bodies of other dialects
      [{ inputs: 'a red apple' }, 'invalid_request', 'prompt'],
      [{ input: { prompt: 'a red apple' } }, 'invalid_request', 'prompt'],
      [[], 'invalid_request', 'body'],
      ['', 'invalid_request', 'prompt'],
      ['{"prompt"', 'invalid_json', null],
      ['"x"', 'invalid_request', 'body'],
    ]
    for (const [body, code, param, message = /./] of wrong) {
      const answer = await post(generations, body)
      assertFault(answer, 400, code, param)
      assert.match(answer.json().error.message, message)
    }
    assertFault(
      await post(generations, 'a=b', { 'content-type': 'text/plain' }),
      415,
      'unsupported_media_type',
      'content-type',
    )
    const long = await post(generations, { prompt: 'x'.repeat(700_000) })
    assertFault(long, 413, 'body_too_large')
    assert.equal(await app.inject('/v1/models/nothing').then(({ statusCode }) => statusCode), 404)
  })
})

suite('the end of a call', () => {
  test('a call that is held for too long is answered, and its job continues', async (t) => {
    const { app, post, parts } = await dialectServer(t, { works: false, holdSeconds: 1 })
    const answer = await post(generations, asked)
    assertFault(answer, 504, 'still_running')
    const [id] = jobIds(answer)
    assert.equal(answer.headers.location, `/v1/jobs/${id}`)
    assert.equal(answer.headers['x-should-retry'], 'false')
    assert.equal((await app.inject(`/v1/jobs/${id}`)).json().status, 'queued')
    assert.equal(await parts.queue.depth(), 1)
  })

  test('a job that failed is not paid for again: clients are told not to repeat the call', async (t) => {
    const { post } = await dialectServer(t, {
      onStep: () => {
        throw new AppError('too_large', 'It needs more memory than there is.')
      },
    })
    const answer = await post(generations, asked)
    assertFault(answer, 500, 'too_large')
    assert.equal(answer.headers['x-should-retry'], 'false')
  })

  test('a job that was canceled elsewhere ends its call', async (t) => {
    const { app, post, accepted } = await dialectServer(t, { works: false })
    const answering = post(generations, asked)
    await waitFor(() => accepted.length === 1)
    await app.inject({ method: 'DELETE', url: `/v1/jobs/${accepted[0]}` })
    const answer = await answering
    assertFault(answer, 409, 'canceled')
    assert.equal(answer.headers['x-should-retry'], 'false')
  })

  test('a client that leaves a call finds its job later', async (t) => {
    const gate = Promise.withResolvers<void>()
    const { app, accepted, listen } = await dialectServer(t, { onStep: () => gate.promise })
    const address = await listen()
    const leaving = new AbortController()
    const left = fetch(address + generations, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(asked),
      signal: leaving.signal,
    })
    await waitFor(() => accepted.length === 1)
    leaving.abort()
    await assert.rejects(left)
    gate.resolve()
    await waitFor(async () => (await app.inject(`/v1/jobs/${accepted[0]}`)).json().status === 'succeeded')
  })
})

test('a server that stops ends its held calls as ones to repeat: another server has the jobs', async (t) => {
  const { post, parts, accepted } = await dialectServer(t, { works: false })
  const tried = { 'x-stainless-retry-count': '0' }
  const answering = post(generations, asked, tried)
  await waitFor(() => accepted.length === 1)
  parts.watch.close()
  const answer = await answering
  assertFault(answer, 503, 'unavailable')
  assert.deepEqual([jobIds(answer), answer.headers['x-should-retry']], [accepted, undefined])
  const streamed = await post(generations, { ...asked, stream: true })
  assert.match(streamed.body, /^data: .*"code":"unavailable"/m)
})

test('without a key, where keys are needed, the answer is in the shape that clients read', async (t) => {
  const refuse = (): never => {
    throw new AppError('unauthorized', 'This key is unknown.')
  }
  const { post, parts } = await dialectServer(t, { change: () => ({ caller: refuse }) })
  const answer = await post(generations, asked)
  assertFault(answer, 401, 'unauthorized')
  assert.equal(answer.json().error.type, 'authentication_error')
  const other = await post('/sdapi/v1/txt2img', asked)
  assert.deepEqual([other.statusCode, other.json().detail], [401, 'This key is unknown.'])
  assert.match(String(other.headers['www-authenticate']), /^Basic /)
  assert.deepEqual((await post('/hf/models/stand-in', {})).json(), { error: 'This key is unknown.' })
  assert.equal(await parts.queue.depth(), 0)
})

suite('repeats', () => {
  const tried = (count: number) => ({ 'x-stainless-retry-count': String(count) })

  test('a repeated call gets the jobs of the first try; two first tries are two calls', async (t) => {
    const { post } = await dialectServer(t, { holdSeconds: 60 })
    const body = { ...asked, n: 5 }
    const first = await post(generations, body, tried(0))
    const again = await post(generations, body, tried(1))
    assert.deepEqual([jobIds(again), again.json().data], [jobIds(first), first.json().data])
    const second = await post(generations, body, tried(0))
    assert.notDeepEqual(jobIds(second), jobIds(first))
    assert.deepEqual(jobIds(await post(generations, body, tried(2))), jobIds(second))
    const other = await post(generations, { ...body, prompt: 'a pear' }, tried(1))
    assert.ok(!jobIds(second).includes(jobIds(other)[0] ?? ''))
  })

  test('a repeat with everything forgotten is a job of its own', async (t) => {
    const { post } = await dialectServer(t, {
      change: ({ status }) => ({ status: { ...status, noted: async () => undefined } }),
    })
    const first = await post(generations, asked, tried(0))
    const again = await post(generations, asked, tried(1))
    assert.equal(again.statusCode, 200)
    assert.notDeepEqual(jobIds(again), jobIds(first))
  })

  test('a repeated edit is the same job: its pictures are not stored twice', async (t) => {
    const { app } = await dialectServer(t)
    const form = multipart([
      ['image', await pngFile()],
      ['prompt', 'a red apple'],
    ])
    const send = (count: number) =>
      app.inject({
        method: 'POST',
        url: '/v1/images/edits',
        ...form,
        headers: { ...form.headers, ...tried(count) },
      })
    const first = await send(0)
    assert.equal(first.statusCode, 200, first.body)
    assert.deepEqual(jobIds(await send(1)), jobIds(first))
  })
})

suite('edits', () => {
  const edit = ({ app }: DialectServer, parts: [string, string | Buffer][]) =>
    app.inject({ method: 'POST', url: '/v1/images/edits', ...multipart(parts) })

  test('a picture, a mask and settings, which are texts in a form', async (t) => {
    const server = await dialectServer(t)
    const image = await pngFile()
    const answer = await edit(server, [
      ['image[]', image],
      ['mask', image],
      ['prompt', '42'],
      ['n', '2'],
      ['size', '128x128'],
      ['seed', '7'],
      ['strength', '0.5'],
      ['input_fidelity', 'high'],
      ['unheard_of', 'x'],
    ])
    assert.equal(answer.statusCode, 200, answer.body)
    assert.equal(answer.json().data.length, 2)
    const { request } = (await server.app.inject(`/v1/jobs/${jobIds(answer)[0]}`)).json()
    const { prompt, seed, strength, count, width, init_image, mask } = request
    assert.deepEqual([prompt, seed, strength, count, width], ['42', 7, 0.5, 2, 128])
    assert.ok(init_image !== undefined && mask !== undefined)
  })

  test('every fault of a form is named', async (t) => {
    const server = await dialectServer(t)
    const image = await pngFile()
    const prompt: [string, string] = ['prompt', 'a red apple']
    const wrong: [[string, string | Buffer][], number, string, string][] = [
      [[prompt], 400, 'invalid_request', 'image'],
      [[['image', image]], 400, 'invalid_request', 'prompt'],
      [[prompt, ['image', image], ['image', image]], 400, 'invalid_request', 'image'],
      [[prompt, ['image[]', image], ['image[]', image], ['mask', image]], 400, 'invalid_request', 'image'],
      [[prompt, ['picture', image]], 400, 'invalid_request', 'picture'],
      [[prompt, ['image', Buffer.from('no picture')]], 422, 'invalid_upload', 'image'],
      [[prompt, ['image', image], ['mask', image.subarray(0, 60)]], 422, 'invalid_upload', 'mask'],
      [[prompt, ['image', image], ['mask', await pngFile(64, 32)]], 400, 'invalid_request', 'mask'],
      [[prompt, ['image', Buffer.alloc(300_000)]], 413, 'body_too_large', 'image'],
      [
        [
          ['prompt', 'x'.repeat(40_000)],
          ['image', image],
        ],
        413,
        'body_too_large',
        'prompt',
      ],
      [[prompt, ['image', image], ['n', 'two']], 400, 'invalid_request', 'n'],
      [
        [prompt, ['image', image], ...Array.from({ length: 50 }, (_, i): [string, string] => [`f${i}`, 'x'])],
        413,
        'body_too_large',
        'body',
      ],
    ]
    for (const [parts, status, code, param] of wrong)
      assertFault(await edit(server, parts), status, code, param)
    assertFault(await server.post('/v1/images/edits', asked), 415, 'unsupported_media_type', 'content-type')
    const form = multipart([prompt])
    const cut = { ...form, payload: form.payload.subarray(0, -30) }
    assertFault(
      await server.app.inject({ method: 'POST', url: '/v1/images/edits', ...cut }),
      400,
      'invalid_request',
      'body',
    )
  })
})

suite('streams', () => {
  interface Event {
    readonly type: string
    readonly [name: string]: unknown
  }
  const eventsOf = (text: string): Event[] =>
    [...text.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => JSON.parse(data) as Event)

  test('one event for each picture, from all jobs of the call', async (t) => {
    const { post } = await dialectServer(t)
    const answer = await post(generations, { ...asked, seed: 7, n: 5, stream: true })
    assert.match(String(answer.headers['content-type']), /^text\/event-stream/)
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    assert.equal(jobIds(answer).length, 2)
    const events = eventsOf(answer.body)
    assert.deepEqual(
      events.map(({ type, b64_json }) => [type, { b64_json }]),
      [7, 8, 9, 10, 11].map((seed) => ['image_generation.completed', picture(seed)]),
    )
    assert.deepEqual(Object.keys(Object(events[0]?.usage)).length, 4)
  })

  test('faults of the request are answered as such, those of the job are an event', async (t) => {
    const { post } = await dialectServer(t, {
      onStep: () => {
        throw new AppError('too_large', 'It needs more memory than there is.')
      },
    })
    assertFault(await post(generations, { prompt: '', stream: true }), 400, 'invalid_request', 'prompt')
    const answer = await post(generations, { ...asked, stream: true })
    const [event, ...more] = eventsOf(answer.body)
    assert.deepEqual([event?.type, Object(event?.error).code, more], ['error', 'too_large', []])
  })

  test('shows partial pictures while the job runs', async (t) => {
    const server = await dialectServer(t, { works: false })
    const { events, left } = await listening(t, server, { ...asked, stream: true, partial_images: 2 })
    const [id = ''] = server.accepted
    await keepPreview(server.parts.status, id, { index: 1, bytes: Buffer.from('a look') })
    await waitFor(() => events().length === 1)
    const [partial] = events()
    assert.deepEqual(
      [partial?.type, partial?.partial_image_index, partial?.b64_json, partial?.output_format],
      ['image_generation.partial_image', 0, Buffer.from('a look').toString('base64'), 'jpeg'],
    )
    left()
    // whoever leaves a stream wants no more of it
    const status = async () => (await server.app.inject(`/v1/jobs/${id}`)).json().status
    await waitFor(async () => (await status()) === 'canceled')
  })

  async function listening(t: TestContext, { listen }: DialectServer, body: object) {
    const address = await listen()
    const leaving = new AbortController()
    lastFirst(t).after(() => leaving.abort())
    const answer = await fetch(address + generations, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: leaving.signal,
    })
    let text = ''
    const reading = async () => {
      for await (const chunk of answer.body ?? []) text += Buffer.from(chunk).toString()
    }
    void reading().catch(() => {})
    return { events: () => eventsOf(text), left: () => leaving.abort() }
  }
})

test('our list of models is also OpenAI`s', async (t) => {
  const { app } = await dialectServer(t, { works: false })
  const { object, data, models } = (await app.inject('/v1/models')).json()
  const entry = { id: 'stand-in', object: 'model', created: 0, owned_by: 'packshot' }
  assert.deepEqual([object, data, models.length], ['list', [entry], 1])
  assert.deepEqual((await app.inject('/v1/models/stand-in')).json(), entry)
})
