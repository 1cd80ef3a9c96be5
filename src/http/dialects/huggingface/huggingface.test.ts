import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { dialectServer } from '../../../../test/jobs/dialect-server.ts'
import { AppError } from '../../../jobs/errors.ts'

/** What Hugging Face's client library cannot be made to send. test/service/clients.test.ts runs the library. */

const url = '/hf/models/stand-in'

function assertFault(answer: LightMyRequestResponse, status: number, message: RegExp): void {
  assert.equal(answer.statusCode, status, answer.body)
  const { error, ...rest } = answer.json()
  assert.match(error, message)
  assert.deepEqual(rest, {})
}

test('answers with the bytes of the picture of an ordinary job', async (t) => {
  const { app, post, accepted } = await dialectServer(t)
  const parameters = {
    width: 128,
    height: 64,
    num_inference_steps: 3,
    guidance_scale: 4,
    negative_prompt: 'blur',
    seed: 7,
    scheduler: 'DPM++ 2M Karras',
    unheard_of: [1],
  }
  const answer = await post(url, { inputs: 'a red apple', parameters, options: { wait_for_model: true } })
  assert.deepEqual([answer.statusCode, answer.body], [200, 'picture of seed 7'])
  assert.equal(answer.headers['content-type'], 'image/png')
  assert.equal(answer.headers['x-job-id'], accepted[0])
  const { request } = (await app.inject(`/v1/jobs/${accepted[0]}`)).json()
  const { width, height, steps, guidance_scale, negative_prompt, schedule } = request
  assert.deepEqual(
    [width, height, steps, guidance_scale, negative_prompt, schedule],
    [128, 64, 3, 4, 'blur', 'karras'],
  )
  const jpeg = await post(url, { inputs: 'a red apple' }, { accept: 'image/jpeg' })
  assert.equal(jpeg.headers['content-type'], 'image/jpeg')
})

test('every fault is one sentence that names the field', async (t) => {
  const { post } = await dialectServer(t, { works: false })
  const inputs = 'a red apple'
  const wrong: [unknown, number, RegExp][] = [
    [{}, 400, /^inputs: prompt is missing/],
    [{ inputs: '' }, 400, /^inputs: /],
    [{ inputs: ['a'] }, 400, /inputs must be a text/],
    [{ inputs, parameters: { width: 7 } }, 400, /^parameters\.width: /],
    [{ inputs, parameters: { scheduler: 'Nonesuch' } }, 400, /^parameters\.scheduler: /],
    [{ inputs, parameters: { num_images_per_prompt: 2 } }, 400, /num_images_per_prompt/],
    [{ inputs, parameters: 7 }, 400, /JSON object/],
    [{ prompt: 'a red apple' }, 400, /^inputs: /],
    ['{', 400, /JSON/],
    ['', 400, /^inputs: /],
  ]
  for (const [body, status, message] of wrong) assertFault(await post(url, body), status, message)
  assertFault(await post('/hf/models/some/other', { inputs }), 404, /stand-in/)
})

test('503 is never said: this client would repeat it at once and forever', async (t) => {
  const { post } = await dialectServer(t, { works: false, queueMax: 1, holdSeconds: 1 })
  const held = await post(url, { inputs: 'a red apple' })
  assertFault(held, 504, /is not finished yet/)
  assert.equal(held.headers.location, `/v1/jobs/${held.headers['x-job-id']}`)
  const full = await post(url, { inputs: 'a red apple' })
  assertFault(full, 429, /./)
  assert.ok(Number(full.headers['retry-after']) > 0)
  const failing = await dialectServer(t, {
    onStep: () => {
      throw new AppError('unavailable', 'A file is missing.', { attempts: 1 })
    },
  })
  assertFault(await failing.post(url, { inputs: 'a red apple' }), 500, /A file is missing/)
})
