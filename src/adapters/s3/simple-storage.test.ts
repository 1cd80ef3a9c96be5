import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { suite, type TestContext, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { opened } from '../../../test/services/fresh-place.ts'
import { type BucketOptions, setUpBucket } from './bucket.ts'
import { s3ImageStore } from './image-store.ts'

const ttlSeconds = 3600

/** A storage that keeps objects and checks no signatures; `special` may replace any answer. */
async function simpleStorage(
  t: TestContext,
  special: (method: string, path: string, conditional: boolean) => readonly [number, string] | undefined,
): Promise<BucketOptions & { log: ReturnType<typeof keepingLog> }> {
  const kept = new Map<string, { body: Buffer; sha256: string }>()
  const server = createServer(async (request, reply) => {
    const { method = '', url = '', headers } = request
    const body = Buffer.concat(await request.toArray())
    const path = url.replace(/[?&]x-id=\w+/, '')
    const object = kept.get(path)
    const answer = special(method, path, headers['if-none-match'] === '*')
    const fault =
      answer ?? (method === 'GET' && object === undefined ? ([404, 'NoSuchKey'] as const) : undefined)
    if (fault !== undefined) {
      const [status, code] = fault
      reply.writeHead(status, { 'content-type': 'application/xml' })
      return reply.end(code === '' ? '' : `<Error><Code>${code}</Code><Message>-</Message></Error>`)
    }
    if (method === 'PUT') kept.set(path, { body, sha256: `${headers['x-amz-meta-sha256']}` })
    if (method === 'DELETE') kept.delete(path)
    if (method === 'GET') reply.setHeader('x-amz-meta-sha256', object?.sha256 ?? '')
    reply.end(method === 'GET' ? object?.body : '')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  lastFirst(t).after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
  return { url: 's3://simple', endpoint, region: 'us-east-1', log: keepingLog(), credentials }
}

suite('a storage that can less', () => {
  for (const [conditional, answer] of [
    ['ignored', undefined],
    ['refused', [501, 'NotImplemented']],
  ] as const) {
    test(`conditional writes ${conditional}`, async (t) => {
      const options = await simpleStorage(t, (_method, _path, asked) => (asked ? answer : undefined))
      const bucket = await opened(t, options)
      assert.equal(bucket.conditional, conditional)
      assert.deepEqual(
        options.log.lines.map(({ level }) => level),
        ['warn'],
      )
      assert.match(options.log.lines[0]?.message ?? '', /does not support conditional writes: .* may replace/)
      const store = s3ImageStore(bucket, { ttlSeconds })
      const first = someManifest(someTask())
      assert.deepEqual(await store.commit(first), first)
      assert.deepEqual(await store.commit({ ...first, status: 'canceled' }), first)
    })
  }

  test('a conflict of two conditional writes is tried again', async (t) => {
    let conflicts = 0
    const options = await simpleStorage(t, (_method, path, asked) => {
      if (!asked) return undefined
      if (path.includes('/probe/')) return [412, 'PreconditionFailed']
      conflicts += 1
      return conflicts < 3 ? [409, 'ConditionalRequestConflict'] : undefined
    })
    const manifest = someManifest(someTask())
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    assert.deepEqual(await store.commit(manifest), manifest)
    assert.equal(conflicts, 3)
  })

  test('no lifecycle rules', async (t) => {
    const options = await simpleStorage(t, (method, path) => {
      if (path.includes('lifecycle')) return [501, 'NotImplemented']
      return method === 'GET' ? [200, ''] : undefined
    })
    await setUpBucket({ ...options, ttlSeconds })
    assert.match(options.log.lines.at(-1)?.message ?? '', /does not support lifecycle rules/)
  })

  test('a page of a proxy is not a missing result', async (t) => {
    let lost = false
    const options = await simpleStorage(t, () => (lost ? [404, ''] : undefined))
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    lost = true
    await assert.rejects(store.getManifest(someTask().id), { code: 'unavailable' })
  })
})
