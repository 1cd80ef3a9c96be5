import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InjectOptions } from 'fastify'
import sharp from 'sharp'
import { runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { bearer, type KeyedOptions, keyed } from '../../../test/jobs/keyed.ts'
import { json } from '../../../test/jobs/route-cases.ts'
import type { Task } from '../../jobs/job.ts'
import { imageSeed } from '../../jobs/pictures.ts'
import type { ImageGenerator } from '../../jobs/ports.ts'

/** Finishing a picture of a job again, over HTTP, with an engine that only writes down what it is asked. */

const png = (background: string) =>
  sharp({ create: { width: 40, height: 30, channels: 3, background } })
    .png()
    .toBuffer()

async function service(t: Parameters<typeof keyed>[0], options: KeyedOptions = {}) {
  const server = await keyed(t, options)
  const { app, parts, keyOf } = server
  const asked: { request: Task['request']; init?: Uint8Array | undefined }[] = []
  const generator: ImageGenerator = {
    async *generate(request, { images }) {
      asked.push({ request, init: images?.init })
      for (let index = 0; index < request.count; index++) {
        const original = images?.init ?? (await png(index === 0 ? 'red' : 'blue'))
        const { width, height } = request.finish ?? request
        const measured = { product: 85, inside: true, sharpness: 120, tries: 1, border_white: 1 }
        const file = { bytes: await png('white'), width, height, seed: imageSeed(request, index) }
        yield request.finish === undefined ? file : { ...file, measured, original }
      }
    },
    async close() {},
  }
  const as = async (name: string, request: InjectOptions) => {
    const headers = { ...request.headers, ...bearer(keyOf(name)) }
    const answer = await app.inject({ ...request, headers })
    const isJson = String(answer.headers['content-type']).includes('json')
    return { code: answer.statusCode, body: isJson ? answer.json() : answer.rawPayload }
  }
  const work = () =>
    workUntil(parts, runDeps(parts, { generator }), async () => (await parts.queue.depth()) === 0)
  const finish = (id: string, body: object, key?: string) => {
    const request = json(`/v1/jobs/${id}/finish`, body)
    return key === undefined
      ? request
      : { ...request, headers: { ...request.headers, 'idempotency-key': key } }
  }
  return { parts, as, work, asked, finish }
}

test('a finished picture has its figures and its original, and is finished again without drawing', async (t) => {
  const { parts, as, work, asked, finish } = await service(t)
  const first = await as(
    'ann',
    json('/v1/jobs', { prompt: 'an apple', count: 2, seed: 7, finish: { preset: 'amazon_main' } }),
  )
  assert.equal(first.code, 202)
  const { id } = first.body
  assert.equal((await as('ann', finish(id, { finish: {} }))).body.error.code, 'not_ready')
  await work()
  const { images } = (await as('ann', { url: `/v1/jobs/${id}` })).body
  assert.deepEqual(images[1].measured, {
    product: 85,
    inside: true,
    sharpness: 120,
    tries: 1,
    border_white: 1,
  })
  assert.equal(images[1].original, `/v1/jobs/${id}/images/1/original`)
  const original = await as('ann', { url: images[1].original })
  assert.deepEqual([original.code, original.body], [200, await png('blue')])
  assert.equal((await as('bob', { url: images[1].original })).code, 404)

  const body = { index: 1, finish: { preset: 'cutout' }, format: 'webp', quality: 80 }
  const key = 'b4f1c2f0-9d2e-4d6b-8a53-6f0b4c7d1e2f'
  const again = await as('ann', finish(id, body, key))
  assert.deepEqual([again.code, again.body.request.strength, again.body.request.seed], [202, 0, 8])
  assert.equal(
    (await as('ann', finish(id, body, key))).body.id,
    again.body.id,
    'a repeated key is the same job',
  )
  assert.equal(
    (await as('ann', finish(id, { ...body, index: 0 }, key))).body.error.code,
    'idempotency_key_reused',
  )
  // the new job needs nothing of the old one
  await as('ann', { method: 'DELETE', url: `/v1/jobs/${id}` })
  assert.equal(await parts.images.getImage(id, 1, 'original'), undefined)
  await work()
  assert.deepEqual(asked.length, 2)
  const { request, init } = asked[1] ?? assert.fail()
  assert.deepEqual([request.finish?.preset, request.format, request.count], ['cutout', 'webp', 1])
  assert.deepEqual(init, await png('blue'))
  // and can itself be finished again
  const third = await as('ann', finish(again.body.id, { finish: { background: '#336699' } }))
  await work()
  assert.deepEqual([third.code, asked[2]?.init], [202, await png('blue')])
})

test('a picture that was delivered as drawn is finished later, in whatever format it is', async (t) => {
  const { as, work, asked, finish } = await service(t)
  const { id } = (await as('ann', json('/v1/jobs'))).body
  await work()
  assert.equal((await as('ann', { url: `/v1/jobs/${id}/images/0/original` })).code, 404)
  assert.equal((await as('ann', finish(id, { finish: {} }))).code, 202)
  await work()
  assert.deepEqual([asked[1]?.request.strength, asked[1]?.init], [0, await png('white')])
})

test('what cannot be finished again is refused, and stores nothing', async (t) => {
  const reader: NonNullable<KeyedOptions['callers']> = {
    reader: { scopes: ['jobs:read'] },
  }
  const { parts, as, work, finish } = await service(t, { callers: reader })
  const { id } = (await as('ann', json('/v1/jobs'))).body
  await work()
  const before = await parts.images.measure()
  const says = async (name: string, request: InjectOptions) => {
    const { code, body } = await as(name, request)
    return [code, body.error.code, body.error.param]
  }
  assert.deepEqual(await says('ann', finish(id, {})), [400, 'invalid_request', 'finish'])
  assert.deepEqual(await says('ann', finish(id, { finish: {}, prompt: 'x' })), [
    400,
    'invalid_request',
    'prompt',
  ])
  assert.deepEqual(await says('ann', finish(id, { finish: {}, index: -1 })), [
    400,
    'invalid_request',
    'index',
  ])
  assert.deepEqual(await says('ann', finish(id, { finish: {}, index: 1 })), [404, 'not_found', 'index'])
  assert.deepEqual(await says('ann', finish(id, { finish: { fill: 5 } })), [
    400,
    'invalid_request',
    'finish.fill',
  ])
  assert.deepEqual((await says('bob', finish(id, { finish: {} }))).slice(0, 2), [404, 'not_found'])
  for (const name of Object.keys(reader))
    assert.deepEqual((await says(name, finish(id, { finish: {} }))).slice(0, 2), [403, 'forbidden'])
  assert.deepEqual(await parts.images.measure(), before)
  assert.equal(await parts.queue.depth(), 0)
})
