import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { standInModel, standInOffer } from '../../../test/stand-in/engine.ts'
import type { ModelInfo } from '../../jobs/offer.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** What the API reports of a model that lists its words, and of requests that have none of them. */

const about = {
  description: 'Trained on fruit.',
  examples: ['a red apple'],
  subjects: ['apple', 'pear'],
  words: new Set(['apple', 'pear', 'red']),
}
const note = 'stand-in finds nothing to draw in these words. It draws: apple, pear.'

async function server(t: TestContext, change: Partial<ModelInfo>) {
  const parts = {
    ...embedded(t),
    offer: () => ({ ...standInOffer, models: [{ ...standInModel, ...change }] }),
  }
  const app = await buildHttp({
    services: createServices(parts, () => true),
    log: pino({ level: 'silent' }),
  })
  lastFirst(t).after(() => app.close())
  return { app, parts }
}

const post = (app: FastifyInstance, prompt: string, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/v1/jobs', headers, payload: { prompt } })

test('a client reads what a model was trained for; a model that says nothing has no such fields', async (t) => {
  const { app } = await server(t, about)
  const [model] = (await app.inject('/v1/models')).json().models
  const { words: _, ...said } = about
  const { description, examples, subjects } = model
  assert.deepEqual({ description, examples, subjects }, said)
  assert.ok(!('words' in model))
  const silent = await server(t, {})
  const [plain] = (await silent.app.inject('/v1/models')).json().models
  for (const name of Object.keys(about)) assert.ok(!(name in plain), name)
  const openapi = (await app.inject('/openapi.json')).body
  for (const text of [
    'What it was trained for and can draw',
    'Prompts to begin with',
    'Sentences for people',
  ])
    assert.ok(openapi.includes(text), text)
})

test('a request without a known word is accepted, and every view of its job says so', async (t) => {
  const { app, parts } = await server(t, about)
  const key = { 'idempotency-key': 'order-1-of-a-customer' }
  const accepted = await post(app, 'a dinosaur', key)
  assert.deepEqual([accepted.statusCode, accepted.json().notes], [202, [note]])
  const { id } = accepted.json()
  assert.deepEqual((await post(app, 'a dinosaur', key)).json().notes, [note])
  const waiting = await app.inject(`/v1/jobs/${id}`)
  assert.deepEqual(waiting.json().notes, [note])
  const unchanged = await app.inject({
    url: `/v1/jobs/${id}`,
    headers: { 'if-none-match': String(waiting.headers.etag) },
  })
  assert.equal(unchanged.statusCode, 304)
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const { status, notes } = (await app.inject(`/v1/jobs/${id}`)).json()
  assert.deepEqual([status, notes], ['succeeded', [note]])
  const other = (await post(app, '恐竜')).json()
  const canceled = await app.inject({ method: 'DELETE', url: `/v1/jobs/${other.id}` })
  assert.deepEqual([canceled.json().status, canceled.json().notes], ['canceled', [note]])
})

test('words of other languages and signs are accepted with the note, what nobody can read is refused', async (t) => {
  const { app } = await server(t, about)
  for (const prompt of ['苹果', 'تفاحة', '🦕', '🦕'.repeat(300), 'dino '.repeat(400)]) {
    const { statusCode, body } = await post(app, prompt)
    assert.deepEqual([statusCode, JSON.parse(body).notes], [202, [note]], prompt.slice(0, 20))
  }
  const known = await post(app, 'a red dinosaur')
  assert.deepEqual([known.statusCode, 'notes' in known.json()], [202, false])
  const refused: [string, RegExp][] = [
    ['', /^prompt must be text of 1 to 2000 characters, but was empty\.$/],
    [' \n ', /^prompt must be text of 1 to 2000 characters, but was empty\.$/],
    ['\u200b\u2060\ufeff', /^prompt must be text of 1 to 2000 characters, but was empty\.$/],
    ['\u0007\u0008', /^prompt must not contain control characters, but contains U\+0007 at character 1\.$/],
    ['<lora:detail:1>', /^prompt must contain something besides its LoRAs\.$/],
    ['<lora:detail:1>\u200b', /^prompt must contain something besides its LoRAs\.$/],
    ['🦕'.repeat(2001), /^prompt must be text of 1 to 2000 characters, but was .*\(2001 characters\)\.$/],
  ]
  for (const [prompt, message] of refused) {
    const { statusCode, body } = await post(app, prompt)
    const { code, param, message: said } = JSON.parse(body).error
    assert.deepEqual([statusCode, code, param], [400, 'invalid_request', 'prompt'])
    assert.match(said, message)
  }
})

test('files that cannot be used are not listed, and a job that names one is refused with the reason', async (t) => {
  const parts = {
    ...embedded(t),
    offer: () => ({
      ...standInOffer,
      loras: [
        { name: 'page', family: 'sd1', problem: 'this is a web page, not a model' },
        { name: 'wide', family: 'sd1', misfits: new Map([['stand-in', 'is made for another model']]) },
      ],
      unusable: [{ name: 'half', problem: 'the file is incomplete' }],
    }),
  }
  const app = await buildHttp({ services: createServices(parts, () => true), log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const { models, loras } = (await app.inject('/v1/models')).json()
  assert.deepEqual(loras, [{ name: 'wide', family: 'sd1', models: [] }])
  assert.deepEqual(
    models.map(({ name }: { name: string }) => name),
    ['stand-in'],
  )
  const refused = async (body: object) => {
    const { statusCode, json } = await app.inject({
      method: 'POST',
      url: '/v1/jobs',
      payload: { prompt: 'x', ...body },
    })
    return [statusCode, json().error.message]
  }
  assert.deepEqual(await refused({ loras: [{ name: 'page' }] }), [
    400,
    'The LoRA page cannot be used: this is a web page, not a model.',
  ])
  assert.deepEqual(await refused({ prompt: 'x <lora:wide>' }), [
    400,
    'The LoRA wide is made for another model.',
  ])
  assert.deepEqual(await refused({ model: 'half' }), [
    400,
    'The model half cannot be used: the file is incomplete.',
  ])
})
