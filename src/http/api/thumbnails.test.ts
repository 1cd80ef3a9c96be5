import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { pino } from 'pino'
import sharp from 'sharp'
import { ballPng } from '../../../test/browser/png.ts'
import { lastFirst } from '../../../test/cleanup.ts'
import { type Embedded, embedded, quickGenerator, runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { thumbnailer } from '../../adapters/pictures/thumbnails.ts'
import type { ImageGenerator } from '../../jobs/ports.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** Pictures in small: what they are, who is redirected to the picture itself, and what is read for them. */

/** Real pictures in place of a few bytes. */
function pictures(): ImageGenerator {
  const quick = quickGenerator()
  return {
    ...quick,
    async *generate(request, options) {
      for await (const each of quick.generate(request, options)) {
        yield { ...each, bytes: ballPng(each.width, each.height) }
      }
    },
  }
}

async function serverWithJob(
  t: TestContext,
  change: (parts: Embedded) => Partial<Embedded> = () => ({}),
  generator = pictures(),
) {
  const parts = embedded(t)
  const services = createServices({ ...parts, ...change(parts) }, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const accepted = await app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers: { 'content-type': 'application/json' },
    payload: JSON.stringify({ prompt: 'a ball', width: 512, height: 256 }),
  })
  const { id } = accepted.json()
  const early = await app.inject(`/v1/jobs/${id}/images/0/thumbnail`)
  assert.deepEqual([early.statusCode, early.json().error.code], [409, 'not_ready'])
  await workUntil(
    parts,
    runDeps(parts, { generator }),
    async () => (await services.view(id, parts.caller({ address: '127.0.0.1' }))).status === 'succeeded',
  )
  const { images } = (await app.inject(`/v1/jobs/${id}`)).json()
  return { app, parts, url: `${images[0].url}/thumbnail`, image: images[0] }
}

suite('thumbnails', () => {
  test('are small WebP files that caches keep as long as the picture, also by its link', async (t) => {
    const { app, url, image } = await serverWithJob(t)
    for (const [address, sides] of [
      [url, [384, 192]],
      [`${url}?side=128`, [128, 64]],
      [`${image.link}/thumbnail?side=128`, [128, 64]],
    ] as const) {
      const small = await app.inject(address)
      assert.equal(small.headers['content-type'], 'image/webp', small.body)
      const { format, width, height } = await sharp(small.rawPayload).metadata()
      assert.deepEqual([format, width, height], ['webp', ...sides])
      assert.match(String(small.headers['cache-control']), /^private, max-age=3\d{3}, immutable$/)
      const again = await app.inject({
        url: address,
        headers: { 'if-none-match': String(small.headers.etag) },
      })
      assert.deepEqual([again.statusCode, again.body], [304, ''])
      const head = await app.inject({ method: 'HEAD', url: address })
      assert.deepEqual([head.statusCode, head.headers.etag], [200, small.headers.etag])
    }
    assert.notEqual((await app.inject(url)).headers.etag, (await app.inject(`${url}?side=128`)).headers.etag)
    assert.equal((await app.inject(`${url}?side=2000`)).statusCode, 400)
    assert.equal((await app.inject(`/v1/pictures/${'x'.repeat(60)}/thumbnail`)).statusCode, 404)
  })

  test('a client that has it costs no look into the storage', async (t) => {
    let opened = 0
    const { app, url } = await serverWithJob(t, ({ images }) => ({
      images: {
        ...images,
        openImage: (...of) => {
          opened += 1
          return images.openImage(...of)
        },
      },
    }))
    const { etag } = (await app.inject(url)).headers
    assert.equal(opened, 1)
    await app.inject({ url, headers: { 'if-none-match': String(etag) } })
    assert.equal(opened, 1)
  })

  test('what cannot be made small is the picture itself', async (t) => {
    const off = await serverWithJob(t, () => ({ thumbnails: thumbnailer({ atOnce: 0 }) }))
    const odd = await serverWithJob(t, undefined, quickGenerator())
    for (const { app, url, image } of [off, odd]) {
      const { statusCode, headers } = await app.inject(url)
      assert.deepEqual([statusCode, headers.location, headers['cache-control']], [307, image.url, 'no-store'])
    }
  })

  test('reads two at a time, lets 64 wait, and makes no others', async () => {
    const make = thumbnailer({ atOnce: 2 })
    const file = Promise.withResolvers<Uint8Array>()
    let read = 0
    const all = Array.from({ length: 66 }, () =>
      make(128, () => {
        read += 1
        return file.promise
      }),
    )
    await waitFor(async () => read === 2)
    assert.equal(await make(128, () => file.promise), undefined)
    const broken = new Error('the storage is away')
    file.reject(broken)
    const results = await Promise.allSettled(all)
    assert.ok(results.every((each) => each.status === 'rejected' && each.reason === broken))
    assert.equal(read, 66)
    const small = await make(128, async () => ballPng(64, 32))
    const { width, height } = await sharp(small).metadata()
    assert.deepEqual([width, height], [64, 32], 'a small one is not enlarged')
  })
})
