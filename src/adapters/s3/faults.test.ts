import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst } from '../../../test/cleanup.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { startProxy } from '../../../test/fault-kit/proxy.ts'
import { stretched, waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freshPlace, keysOf, opened } from '../../../test/services/fresh-place.ts'
import { storage } from '../../../test/services/services.ts'
import { connect } from './connection.ts'
import { StorageFault } from './faults.ts'
import { s3ImageStore } from './image-store.ts'
import { bucketObjects } from './objects.ts'

const ttlSeconds = 3600
/** Enough for a megabyte through a proxy, however slow the machine is. */
const requestSeconds = stretched(1.5)
const requestMs = 1000 * requestSeconds

/** One bucket, reached directly and through a proxy that a test breaks. */
async function behindProxy(t: TestContext) {
  const options = { ...freshPlace(t, await storage(), keepingLog()), requestMs }
  const { hostname, port } = new URL(options.endpoint ?? '')
  const proxy = await startProxy(t, { host: hostname, port: Number(port) })
  const straight = await opened(t, { ...options, requestMs: 10_000 })
  const bucket = await opened(t, { ...options, endpoint: `http://127.0.0.1:${proxy.port}` })
  return { proxy, straight, bucket, store: s3ImageStore(bucket, { ttlSeconds }) }
}

suite('s3 when requests fail', () => {
  test('a picture that was written by half is not there', async (t) => {
    const { proxy, straight, store } = await behindProxy(t)
    const { id } = someTask()
    proxy.throttle(1_000_000)
    const written = store.putImage(id, 0, 'png', new Uint8Array(1_000_000))
    const before = proxy.carried()
    await waitFor(() => proxy.carried() > before + 100_000)
    await proxy.refuse()
    await assert.rejects(written, { code: 'unavailable' })
    assert.deepEqual(await keysOf(straight), [])
    assert.equal(await s3ImageStore(straight, { ttlSeconds }).getImage(id, 0, 'png'), undefined)
  })

  test('a picture that was replaced by half is the earlier one', async (t) => {
    const { proxy, straight, store } = await behindProxy(t)
    const { id } = someTask()
    await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
    proxy.throttle(1_000_000)
    const written = store.putImage(id, 0, 'png', new Uint8Array(1_000_000))
    const before = proxy.carried()
    await waitFor(() => proxy.carried() > before + 100_000)
    await proxy.refuse()
    await assert.rejects(written, { code: 'unavailable' })
    assert.deepEqual([...((await straight.get(`${(await keysOf(straight))[0]}`)) ?? [])], [1, 2, 3])
  })

  test('a connection that breaks once is made again', async (t) => {
    const { proxy, store } = await behindProxy(t)
    const { id } = someTask()
    proxy.cut()
    await sleep(200)
    proxy.cutAfter(100_000)
    await store.putImage(id, 0, 'png', new Uint8Array(1_000_000).fill(7))
    proxy.cut()
    assert.equal((await store.getImage(id, 0, 'png'))?.length, 1_000_000)
  })

  test('a picture that is read by half is a fault', async (t) => {
    const { proxy, store } = await behindProxy(t)
    const { id } = someTask()
    await store.putImage(id, 0, 'png', new Uint8Array(1_000_000))
    proxy.throttle(1_000_000)
    const read = store.getImage(id, 0, 'png')
    await sleep(300)
    await proxy.refuse()
    await assert.rejects(read, { code: 'unavailable' })
  })

  test('storage that asks to slow down is named, and is used again afterwards', async (t) => {
    const { proxy, store } = await behindProxy(t)
    const manifest = someManifest(someTask())
    const body =
      '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>'
    const head = ['HTTP/1.1 503 Slow Down', 'content-type: application/xml', 'connection: close']
    proxy.cut()
    proxy.respond(`${head.join('\r\n')}\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    const fault = { code: 'unavailable', message: 'The storage failed at PutObject: SlowDown.' }
    await assert.rejects(store.commit(manifest), fault)
    await proxy.pass()
    proxy.cut()
    assert.deepEqual(await store.commit(manifest), manifest)
  })

  test('a request ends in its time when nothing answers, or the answer stops half-way', async (t) => {
    const { proxy, store } = await behindProxy(t)
    const { id } = someTask()
    await store.putImage(id, 0, 'png', new Uint8Array(1_000_000))
    proxy.throttle(1_000_000)
    const read = store.getImage(id, 0, 'png')
    await sleep(300)
    proxy.blackHole()
    const fault = (operation: string) => ({
      code: 'unavailable',
      message: `The storage did not answer ${operation} within ${requestSeconds} seconds.`,
    })
    await Promise.all([
      assert.rejects(read, fault('GetObject')),
      assert.rejects(store.getManifest(id), fault('GetObject')),
      assert.rejects(store.putImage(id, 1, 'png', Uint8Array.of(1)), fault('PutObject')),
      assert.rejects(store.sweep(new Date()), fault('ListObjectsV2')),
    ])
    await proxy.pass()
    assert.equal((await store.getImage(id, 0, 'png'))?.length, 1_000_000)
  })

  test('a commit whose answer was lost finds its own manifest', async (t) => {
    const { straight } = await behindProxy(t)
    let lost = 0
    const store = s3ImageStore(
      {
        ...straight,
        putFirst: async (...written) => {
          await straight.putFirst(...written)
          lost += 1
          if (lost === 1) throw new Error('the answer was lost')
          return straight.putFirst(...written)
        },
      },
      { ttlSeconds },
    )
    const manifest = someManifest(someTask())
    await assert.rejects(store.commit(manifest), /lost/)
    assert.deepEqual(await store.commit({ ...manifest, finished_at: new Date().toISOString() }), manifest)
  })

  test('a bucket that is gone is named', async (t) => {
    const { s3Endpoint: endpoint, region, accessKeyId, secretAccessKey } = await storage()
    const credentials = { accessKeyId, secretAccessKey }
    const connection = connect({ url: 's3://gone', endpoint, region, credentials, log: keepingLog() })
    lastFirst(t).after(connection.close)
    const fault = { code: 'unavailable', message: 'The bucket gone does not exist.' }
    await assert.rejects(bucketObjects(connection).get('any'), fault)
    await assert.rejects(bucketObjects(connection).put('any', Uint8Array.of(1), 'image/png'), fault)
  })
})

test('a storage without room is told from one that is away, in words without secrets', () => {
  const context = { bucket: 'b', timedOut: false, requestMs: 1000 }
  const thrown = (name: string, httpStatusCode: number) =>
    Object.assign(new Error('for key AKIAIOSFODNN7 at http://user:pass@host'), {
      name,
      $metadata: { httpStatusCode },
    })
  for (const [name, status] of [
    ['QuotaExceeded', 403],
    ['InsufficientCapacity', 507],
    ['XMinioStorageFull', 507],
    ['XMinioAdminBucketQuotaExceeded', 400],
    ['UnknownError', 507],
  ] as const) {
    const fault = new StorageFault('PutObject', thrown(name, status), context)
    assert.equal(fault.code, 'storage_full')
    assert.equal(fault.message, `The storage has no room left (PutObject: ${name}).`)
  }
  for (const name of ['AccessDenied', 'InternalError', 'Error', 'SlowDown']) {
    const cause = thrown(name, 500)
    const fault = new StorageFault('GetObject', cause, context)
    assert.equal(fault.code, 'unavailable')
    assert.match(fault.message, /GetObject/)
    assert.doesNotMatch(fault.message, /AKIA|pass/)
    assert.equal(fault.cause, cause)
  }
})
