import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import sharp from 'sharp'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, runDeps, storageIsAway, workUntil } from '../../../test/jobs/embedded.ts'
import type { Caller } from '../../jobs/caller.ts'
import { AppError } from '../../jobs/errors.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** Uploads and what jobs make of them, by inject. The limits are those of test/jobs/embedded.ts. */

async function studio(t: TestContext, change: object = {}) {
  const parts = embedded(t)
  const services = createServices({ ...parts, ...change }, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const upload = (payload: Buffer | string, type: string | undefined = 'image/png') =>
    app.inject({
      method: 'POST',
      url: '/v1/uploads',
      payload,
      headers: type === undefined ? {} : { 'content-type': type },
    })
  const ask = (body: object) =>
    app.inject({ method: 'POST', url: '/v1/jobs', payload: { prompt: 'a red apple', ...body } })
  return { parts, app, upload, ask }
}

function picture(width = 64, height = 48, background = '#c33') {
  return sharp({ create: { width, height, channels: 3, background } })
}
const png = (width?: number, height?: number) => picture(width, height).png().toBuffer()

function assertFault(answer: LightMyRequestResponse, status: number, code: string, message: RegExp): void {
  assert.equal(answer.statusCode, status, answer.body)
  const { error } = answer.json()
  assert.equal(error.code, code)
  assert.match(error.message, message)
}

test('a picture is kept, shown again, and named by a job that is made from it', async (t) => {
  const { app, parts, upload, ask } = await studio(t)
  const accepted = await upload(await picture(640, 1024).jpeg().toBuffer(), 'image/jpeg; charset=binary')
  assert.equal(accepted.statusCode, 201, accepted.body)
  const { id, width, height, bytes, expires_at } = accepted.json()
  assert.deepEqual([width, height], [404, 647])
  assert.equal(accepted.headers.location, `/v1/uploads/${id}`)
  assert.ok(Math.abs(Date.parse(expires_at) - Date.now() - 3_600_000) < 60_000)
  const shown = await app.inject(`/v1/uploads/${id}`)
  assert.deepEqual([shown.statusCode, shown.headers['content-type']], [200, 'image/png'])
  assert.equal(shown.rawPayload.length, bytes)
  const tagged = await app.inject({
    url: `/v1/uploads/${id}`,
    headers: { 'if-none-match': String(shown.headers.etag) },
  })
  assert.equal(tagged.statusCode, 304)

  const mask = (await upload(await png(320, 512))).json()
  const job = (await ask({ init_image: id, mask: mask.id, strength: 0.5, seed: 7 })).json()
  assert.deepEqual([job.request.init_image, job.request.mask, job.request.strength], [id, mask.id, 0.5])
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  const done = await app.inject(`/v1/jobs/${job.id}/images/0`)
  assert.equal(done.body, `picture of seed 7 from ${bytes} and ${mask.bytes} bytes`)
})

test('what is not the picture that it says is refused, and nothing is kept', async (t) => {
  const { upload, app } = await studio(t)
  const file = await png()
  assertFault(
    await upload(file, 'image/gif'),
    415,
    'unsupported_media_type',
    /one of image\/png.*"image\/gif"/,
  )
  assertFault(
    await upload(file, 'application/json'),
    415,
    'unsupported_media_type',
    /was "application\/json"/,
  )
  assertFault(await upload(file, 'nonsense'), 415, 'unsupported_media_type', /"nonsense"/)
  assertFault(
    await upload(file, 'image/jpeg'),
    422,
    'invalid_upload',
    /must be image\/jpeg.*but is image\/png/,
  )
  const heic = Buffer.concat([Buffer.from('\0\0\0\x18ftypheic', 'latin1'), Buffer.alloc(64)])
  assertFault(await upload(heic, 'image/jpeg'), 422, 'invalid_upload', /HEIC photos.*save the photo as JPEG/)
  assertFault(await upload(heic, 'image/heic'), 415, 'unsupported_media_type', /HEIC photos.*save/)
  assertFault(await upload('hello'), 422, 'invalid_upload', /must be image\/png.*but is not/)
  assertFault(await upload(Buffer.alloc(0)), 422, 'invalid_upload', /but is not/)
  assertFault(await upload(file.subarray(0, 60)), 422, 'invalid_upload', /cut short/)
  assertFault(
    await upload(Buffer.alloc(200_001)),
    413,
    'body_too_large',
    /at most 200000 bytes, but had 200001/,
  )
  assertFault(await upload(await png(1200, 1000)), 422, 'invalid_upload', /1 megapixels, but has 1200 x 1000/)
  const none = await app.inject({ method: 'POST', url: '/v1/uploads' })
  assertFault(none, 415, 'unsupported_media_type', /missing/)
  const wrong = await app.inject({ method: 'GET', url: '/v1/uploads' })
  assertFault(wrong, 405, 'method_not_allowed', /POST/)
})

test('an upload is no job, a job no upload, and neither is anything else', async (t) => {
  const { upload, ask, app } = await studio(t)
  const { id } = (await upload(await png())).json()
  const job = (await ask({})).json()
  assertFault(await app.inject(`/v1/jobs/${id}`), 404, 'not_found', /id of an upload, not of a job/)
  assertFault(await app.inject(`/v1/uploads/${job.id}`), 404, 'not_found', /id of a job, not of an upload/)
  for (const other of ['x', '..%2f..%2fetc', `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`]) {
    assertFault(await app.inject(`/v1/uploads/${other}`), 404, 'not_found', /no upload/)
  }
  assertFault(await ask({ init_image: job.id }), 400, 'invalid_request', /init_image must .* never issued/)
  assertFault(
    await ask({ init_image: id, mask: 'x' }),
    400,
    'invalid_request',
    /mask must .* "x", which was never/,
  )
})

test('a mask must have the shape of its picture', async (t) => {
  const { upload, ask } = await studio(t)
  const [wide, small, tall] = [await png(300, 200), await png(150, 100), await png(200, 300)]
  const [a, b, c] = await Promise.all([wide, small, tall].map(async (file) => (await upload(file)).json().id))
  assert.equal((await ask({ init_image: a, mask: b })).statusCode, 202)
  assertFault(await ask({ init_image: a, mask: c }), 400, 'invalid_request', /is 300x200, but was 200x300/)
})

test('an upload outlives the jobs that name it, and can be named for as long as a result is kept', async (t) => {
  const { upload, ask, app, parts } = await studio(t)
  const { id } = (await upload(await png())).json()
  parts.clock.ahead = 3_599_000
  const job = (await ask({ init_image: id })).json()
  parts.clock.ahead = 3_601_000
  assertFault(await ask({ init_image: id }), 400, 'invalid_request', /has expired: upload the picture again/)
  assertFault(await app.inject(`/v1/uploads/${id}`), 410, 'expired', /has expired/)
  parts.clock.ahead = 3_599_000 + 3_590_000
  await parts.images.sweep(parts.now())
  await workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)
  assert.equal((await app.inject(`/v1/jobs/${job.id}`)).json().status, 'succeeded')
  parts.clock.ahead = 3 * 3_600_000 + 1000
  await parts.images.sweep(parts.now())
  assert.equal(await parts.images.getUpload(id), undefined)
})

test('a key answers its job again, though the upload is over', async (t) => {
  const { upload, parts, app } = await studio(t)
  const { id } = (await upload(await png())).json()
  const again = () =>
    app.inject({
      method: 'POST',
      url: '/v1/jobs',
      payload: { prompt: 'x', init_image: id },
      headers: { 'idempotency-key': 'order-1-of-a-customer' },
    })
  const first = (await again()).json()
  parts.images.getUpload = async () => undefined
  assert.equal((await again()).json().id, first.id)
})

test('an upload that is gone when the job is made ends the job with a word', async (t) => {
  const { upload, ask, app, parts } = await studio(t)
  const { id } = (await upload(await png())).json()
  const job = (await ask({ init_image: id })).json()
  const images = { ...parts.images, getUpload: async () => undefined }
  await workUntil(parts, runDeps(parts, { images }), async () => (await parts.queue.depth()) === 0)
  const { status, error } = (await app.inject(`/v1/jobs/${job.id}`)).json()
  assert.deepEqual([status, error.code], ['failed', 'upload_gone'])
  assert.match(error.message, /init_image/)
})

test('a storage that is away is no fault of the picture', async (t) => {
  const { upload } = await studio(t)
  const { id } = (await upload(await png())).json()
  const parts = embedded(t)
  const images = {
    ...parts.images,
    putUpload: async () => storageIsAway(),
    getUpload: async () => storageIsAway(),
    openUpload: async () => storageIsAway(),
    getUploadHead: async () => storageIsAway(),
  }
  const away = await studio(t, { images })
  assertFault(await away.upload(await png()), 503, 'unavailable', /away/)
  assertFault(await away.ask({ init_image: id }), 503, 'unavailable', /away/)
  assertFault(await away.app.inject(`/v1/uploads/${id}`), 503, 'unavailable', /away/)
})

test('an upload can be deleted, by whoever has its id, and jobs and readers are told', async (t) => {
  const { app, upload, ask } = await studio(t)
  const { id } = (await upload(await png())).json()
  for (let count = 0; count < 2; count++) {
    const answer = await app.inject({ method: 'DELETE', url: `/v1/uploads/${id}` })
    assert.deepEqual([answer.statusCode, answer.body], [204, ''])
  }
  assertFault(await app.inject(`/v1/uploads/${id}`), 410, 'deleted', /^The upload was deleted/)
  assertFault(await ask({ init_image: id }), 400, 'invalid_request', /was deleted: upload the picture again/)
  const never = await app.inject({
    method: 'DELETE',
    url: `/v1/uploads/${id.slice(0, -1)}${id.endsWith('x') ? 'y' : 'x'}`,
  })
  assertFault(never, 404, 'not_found', /no upload/)
})

test('a job that starts from a photo reads its header only', async (t) => {
  const parts = embedded(t)
  const images = { ...parts.images, getUpload: async () => assert.fail('the whole picture is read') }
  const { upload, ask } = await studio(t, { images })
  const [photo, mask, wide] = [await png(96, 64), await png(96, 64), await png(128, 64)]
  const ids = []
  for (const bytes of [photo, mask, wide]) ids.push((await upload(bytes)).json().id)
  const [init_image] = ids
  assert.equal((await ask({ init_image, mask: ids[1] })).statusCode, 202)
  const other = await ask({ init_image, mask: ids[2] })
  assertFault(other, 400, 'invalid_request', /the shape of init_image, which is 96x64, but was 128x64/)
})

test('refused uploads count too, and their bytes only when they are kept', async (t) => {
  const taken: string[] = []
  const limiter = {
    async take(_caller: Caller, name = 'rate', amount = 1) {
      taken.push(`${name} ${Math.sign(amount)}`)
      return 0
    },
  }
  const space = {
    async take() {
      throw new AppError('storage_full', 'All uploads together may take 1 MB.')
    },
  }
  const limited = await studio(t, { limiter, space })
  assertFault(await limited.upload(Buffer.from('no picture')), 422, 'invalid_upload', /./)
  assertFault(await limited.upload(await png()), 507, 'storage_full', /together/)
  assert.deepEqual(taken, ['rate 1', 'rate 1', 'uploadBytes 1', 'uploadBytes -1'])
})

test('uploads count like jobs against the rate of a client', async (t) => {
  const limited = await studio(t, { limiter: { take: async () => 7 } })
  const answer = await limited.upload(await png())
  assertFault(answer, 429, 'rate_limited', /7 seconds/)
  assert.equal(answer.headers['retry-after'], '7')
})
