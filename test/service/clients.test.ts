import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { createFalClient } from '@fal-ai/client'
import { InferenceClient } from '@huggingface/inference'
import OpenAI, { toFile } from 'openai'
import Replicate, { type Prediction, validateWebhook } from 'replicate'
import sharp from 'sharp'
import { StableDiffusionApi } from 'stable-diffusion-api'
import { ownCleanup, tempFolder } from '../cleanup.ts'
import { startReceiver } from '../kit/receiver.ts'
import { waitFor } from '../kit/waiting.ts'
import { realServer, startServer } from './server-process.ts'

/**
 * Stock clients of other APIs, unchanged, against the whole program with its own model. What they cannot be made to send
 * is in the tests of src/http/dialects.
 */

const model = 'packshot-mini'
const size = { width: 256, height: 256 }
/** Any: without a file of keys it is ignored, and clients send none without one. */
const key = 'test-key'

let address = ''
const cleanup = ownCleanup()
before(async () => {
  address = await startServer(
    cleanup,
    { PACKSHOT_DATA_DIR: tempFolder(cleanup), PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1' },
    realServer,
  ).address
})
after(cleanup.end)

async function assertPicture(bytes: Uint8Array | undefined, format = 'png'): Promise<void> {
  const found = await sharp(bytes).metadata()
  assert.deepEqual([found.format, found.width, found.height], [format, size.width, size.height])
}

const decoded = (text: string | undefined) => Buffer.from(text ?? '', 'base64')

function png(hole = false): Promise<Buffer> {
  const background = { r: 255, g: 255, b: 255, alpha: hole ? 0 : 1 }
  return sharp({ create: { ...size, channels: 4, background } })
    .png()
    .toBuffer()
}

suite('openai', () => {
  const client = () => new OpenAI({ apiKey: key, baseURL: `${address}/v1`, maxRetries: 0 })
  const asked = { model, prompt: 'a red apple', size: '256x256' } as const

  test('makes pictures, as base64 and as addresses that need no key', async () => {
    // further fields are what Python's client calls extra_body
    const extra = { steps: 2, seed: 7, negative_prompt: 'blurry' }
    const made = await client().images.generate({ ...asked, ...extra, output_format: 'webp', n: 2 })
    assert.equal(made.data?.length, 2)
    for (const each of made.data ?? []) await assertPicture(decoded(each.b64_json), 'webp')
    assert.match(String(made._request_id), /./)
    const linked = await client().images.generate({ ...asked, ...extra, response_format: 'url' })
    const answer = await fetch(linked.data?.[0]?.url ?? '')
    await assertPicture(new Uint8Array(await answer.arrayBuffer()))
    const automatic = await client().images.generate({ ...asked, ...extra, size: 'auto' })
    await sharp(decoded(automatic.data?.[0]?.b64_json)).metadata()
  })

  test('edits a picture, with a mask', async () => {
    const image = await toFile(await png(), 'in.png', { type: 'image/png' })
    const mask = await toFile(await png(true), 'mask.png', { type: 'image/png' })
    const one = await client().images.edit({ ...asked, image, mask })
    await assertPicture(decoded(one.data?.[0]?.b64_json))
    const listed = await client().images.edit({ ...asked, image: [image] })
    await assertPicture(decoded(listed.data?.[0]?.b64_json))
  })

  test('streams partial pictures, then the picture; a stream may be left', async () => {
    const stream = await client().images.generate({ ...asked, stream: true, partial_images: 2 })
    const events = []
    for await (const event of stream) events.push(event)
    const last = events.pop()
    assert.equal(last?.type, 'image_generation.completed')
    await assertPicture(decoded(last?.b64_json))
    for (const event of events) {
      assert.equal(event.type, 'image_generation.partial_image')
      await sharp(decoded(event.b64_json)).metadata()
    }
    const left = await client().images.generate({ ...asked, stream: true })
    for await (const _event of left) break
  })

  test('lists models, and has its own classes for errors', async () => {
    const { data } = await client().models.list()
    assert.deepEqual(
      data.map(({ id }) => id),
      [model],
    )
    assert.equal((await client().models.retrieve(model)).id, model)
    const wrong: [object, string, string][] = [
      [{ size: '99999x7' }, 'size', 'invalid_request'],
      [{ prompt: '' }, 'prompt', 'invalid_request'],
      [{ model: 'gpt-image-2' }, 'model', 'model_not_found'],
    ]
    for (const [change, param, code] of wrong) {
      const refused = client().images.generate({ ...asked, ...change })
      const error: unknown = await refused.catch((thrown: unknown) => thrown)
      assert.ok(error instanceof OpenAI.BadRequestError)
      assert.deepEqual([error.param, error.code, error.type], [param, code, 'invalid_request_error'])
    }
    await assert.rejects(client().get('/nothing/here'), OpenAI.NotFoundError)
  })
})

test('@huggingface/inference makes a picture', async () => {
  const client = new InferenceClient(key, { endpointUrl: `${address}/hf/models/${model}` })
  const parameters = { ...size, num_inference_steps: 2, seed: 7 }
  const picture = await client.textToImage({ inputs: 'a red apple', parameters })
  await assertPicture(new Uint8Array(await (picture as unknown as Blob).arrayBuffer()))
  const wrong = client.textToImage({ inputs: 'x', parameters: { ...parameters, width: 7 } })
  await assert.rejects(wrong, /parameters\.width/)
})

test('stable-diffusion-api makes pictures, from text and from a picture, and reads the lists', async () => {
  const client = new StableDiffusionApi({
    baseUrl: address,
    defaultSampler: 'DPM++ 2M Karras',
    defaultStepCount: 2,
    timeout: 300_000,
  })
  const made = await client.txt2img({ prompt: 'a red apple', ...size, seed: 7, batch_size: 2 })
  for (const image of made.images) await assertPicture(await image.toBuffer())
  assert.deepEqual(JSON.parse(String(made.info)).all_seeds, [7, 8])
  const repainted = await client.img2img({
    init_images: [sharp(await png())],
    mask_image: sharp(await png()),
    prompt: 'a red apple',
    ...size,
  })
  await assertPicture(await repainted.image.toBuffer())
  assert.equal((await client.getProgress()).progress, 0)
  assert.ok((await client.getSamplers()).some(({ name }) => name === 'DPM++ 2M'))
  await client.setModel(model)
  assert.equal(await client.getCurrentModel(), model)
  // POST with content-type json and no body
  await client.refreshCheckpoints()
})

suite('replicate', () => {
  const client = () => new Replicate({ auth: key, baseUrl: `${address}/v1`, useFileOutput: false })
  const input = { prompt: 'a red apple', ...size, num_inference_steps: 2, seed: 7 }
  const fetched = async (address: unknown) =>
    new Uint8Array(await (await fetch(String(address))).arrayBuffer())

  test('runs a model in every way to wait', async () => {
    for (const wait of [
      { mode: 'block' },
      { mode: 'poll', interval: 200 },
      { mode: 'block', timeout: 1 },
    ] as const) {
      const output = await client().run(`packshot/${model}`, { input, wait })
      assert.ok(Array.isArray(output) && output.length === 1, JSON.stringify(wait))
      await assertPicture(await fetched(output[0]))
    }
    const version = await client().run(`packshot/${model}:${'0'.repeat(64)}`, { input })
    await assertPicture(await fetched((version as string[])[0]))
  })

  test('sends files, follows a stream, and cancels', async () => {
    const image = new Blob([new Uint8Array(await png())], { type: 'image/png' })
    const from = { ...input, image, prompt_strength: 0.7 }
    const made: Prediction = await client().predictions.create({
      model: `packshot/${model}`,
      input: from,
      wait: 60,
    })
    assert.equal(made.status, 'succeeded')
    const events = []
    for await (const event of client().stream(`packshot/${model}`, { input })) events.push(event)
    assert.equal(events.at(-1)?.event, 'done')
    await assertPicture(await fetched(events.find(({ event }) => event === 'output')?.data))
    const long = { ...input, num_inference_steps: 50 }
    const { id } = await client().predictions.create({ model: `packshot/${model}`, input: long })
    await client().predictions.cancel(id)
    const ended = await client().wait(await client().predictions.get(id), {})
    assert.equal(ended.status, 'canceled')
    assert.deepEqual((await client().predictions.list()).results, [])
  })

  test('checks the webhook of a prediction', async (t) => {
    const receiver = await startReceiver(t)
    const { key: secret } = await client().webhooks.default.secret.get()
    const { id } = await client().predictions.create({
      model: `packshot/${model}`,
      input,
      webhook: receiver.url,
      webhook_events_filter: ['completed'],
    })
    await waitFor(() => receiver.messages.length > 0)
    const [message] = receiver.messages
    assert.ok(message)
    const { headers, body } = message
    const signed = {
      id: String(headers['webhook-id']),
      timestamp: String(headers['webhook-timestamp']),
      signature: String(headers['webhook-signature']),
    }
    assert.ok(await validateWebhook({ ...signed, body, secret }))
    assert.ok(!(await validateWebhook({ ...signed, body: `${body} `, secret })))
    const prediction = JSON.parse(body)
    assert.deepEqual([prediction.id, prediction.status], [id, 'succeeded'])
    await assertPicture(await fetched(prediction.output[0]))
  })

  test('shows what is wrong', async () => {
    await assert.rejects(client().predictions.get('n'.repeat(26)), /404.*no job with this id/)
    await assert.rejects(client().run(`packshot/${model}`, { input: size }), /422.*prompt is missing/)
    await assert.rejects(client().run('stability-ai/sdxl', { input }), /404.*no model/)
  })
})

suite('@fal-ai/client', () => {
  const app = `packshot/${model}`
  const input = { prompt: 'a red apple', image_size: size, num_inference_steps: 2, num_images: 1, seed: 7 }
  const ways = {
    middleware: () => ({
      requestMiddleware: async <Request extends { url: string }>(request: Request) => ({
        ...request,
        url: request.url
          .replace('https://queue.fal.run', `${address}/fal/queue`)
          .replace('https://fal.run', `${address}/fal/run`)
          .replace('https://rest.fal.ai', `${address}/fal/rest`),
      }),
    }),
    proxy: () => ({ proxyUrl: { url: `${address}/fal/proxy`, when: 'always' as const } }),
  }
  const client = (way: keyof typeof ways) =>
    createFalClient({ credentials: key, suppressLocalCredentialsWarning: true, ...ways[way]() })
  const shown = async ({ data }: { data: unknown }) => {
    const { images } = data as { images: { url: string }[] }
    await assertPicture(new Uint8Array(await (await fetch(images[0]?.url ?? '')).arrayBuffer()))
  }

  for (const way of ['middleware', 'proxy'] as const) {
    test(`subscribes and runs, by ${way}`, async () => {
      const fal = client(way)
      await shown(await fal.subscribe(app, { input, logs: true, pollInterval: 200 }))
      await shown(await fal.subscribe(app, { input, mode: 'streaming', logs: true }))
      await shown(await fal.run(app, { input }))
      const image_url = new Blob([new Uint8Array(await png())], { type: 'image/png' })
      await shown(await fal.subscribe(`${app}/image-to-image`, { input: { ...input, image_url } }))
    })
  }

  test('has its own classes for errors', async () => {
    const fal = client('proxy')
    const caught = (action: Promise<unknown>) => action.catch((thrown: unknown) => thrown)
    const invalid = await caught(fal.queue.submit(app, { input: { prompt: '' } }))
    assert.equal((invalid as Error).name, 'ValidationError')
    const { request_id } = await fal.queue.submit(app, { input })
    await fal.queue.cancel(app, { requestId: request_id })
    const { requestId } = await fal.subscribe(app, { input })
    const late = await caught(fal.queue.cancel(app, { requestId }))
    assert.equal((late as { status: number }).status, 400)
    const missing = await caught(fal.queue.result(app, { requestId: 'n'.repeat(26) }))
    assert.equal((missing as { status: number }).status, 404)
  })
})
