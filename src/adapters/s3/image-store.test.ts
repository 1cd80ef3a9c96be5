import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, type TestContext, test } from 'node:test'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { lastFirst } from '../../../test/cleanup.ts'
import { imageStoreContract } from '../../../test/contract/image-store.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { stretched, waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freshPlace, opened } from '../../../test/services/fresh-place.ts'
import { storage } from '../../../test/services/services.ts'
import type { Bucket } from './bucket.ts'
import { connect } from './connection.ts'
import { s3ImageStore } from './image-store.ts'
import { imageKey, manifestKey } from './keys.ts'
import type { Conditional } from './probe.ts'

const ttlSeconds = 3600

async function place(t: TestContext, log = keepingLog()) {
  return freshPlace(t, await storage(), log)
}

imageStoreContract('s3', async (t) => {
  const bucket = await opened(t, await place(t))
  return () => s3ImageStore(bucket, { ttlSeconds })
})

// Simulates a store that ignores or refuses conditions on one that honours them.
const unconditional = (bucket: Bucket, conditional: Conditional): Bucket => ({
  ...bucket,
  conditional,
  putFirst: async (...written) => {
    await bucket.put(...written)
    return true
  },
})
imageStoreContract(
  's3 without conditional writes',
  async (t) => {
    const bucket = await opened(t, await place(t))
    return () => s3ImageStore(unconditional(bucket, 'ignored'), { ttlSeconds })
  },
  { atomic: false },
)

suite('s3 images', () => {
  test('an object says what it is', async (t) => {
    const options = await place(t)
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    const task = someTask()
    await store.putImage(task.id, 0, 'png', Uint8Array.of(1, 2, 3))
    await store.commit(someManifest(task))
    const { client, place: at, close } = connect(options)
    lastFirst(t).after(close)
    const head = async (key: string) => {
      const answer = await client.send(new GetObjectCommand({ Bucket: at.bucket, Key: at.prefix + key }))
      await answer.Body?.transformToByteArray()
      return [answer.ContentType, answer.Metadata?.sha256?.length]
    }
    assert.deepEqual(await head(imageKey(task.id, 0, 'png')), ['image/png', 64])
    assert.deepEqual(await head(manifestKey(task.id)), ['application/json', 64])
    assert.match(imageKey(task.id, 0, 'png'), /^results\/\d{4}-\d\d-\d\d\/[0-9a-z]{42}\/0\.png$/)
  })

  test('a view of a larger buffer is stored as the view alone', async (t) => {
    const store = s3ImageStore(await opened(t, await place(t)), { ttlSeconds })
    const { id } = someTask()
    await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3, 4).subarray(1, 3))
    assert.deepEqual([...((await store.getImage(id, 0, 'png')) ?? [])], [2, 3])
  })

  test('an object that was changed from outside is a fault, not a picture', async (t) => {
    const options = await place(t)
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    const task = someTask()
    const { client, place: at, close } = connect(options)
    lastFirst(t).after(close)
    const put = (key: string, Body: string, sha256?: string) => {
      const Metadata = sha256 === undefined ? {} : { sha256 }
      return client.send(new PutObjectCommand({ Bucket: at.bucket, Key: at.prefix + key, Body, Metadata }))
    }
    await put(imageKey(task.id, 0, 'png'), 'half', createHash('sha256').update('whole').digest('hex'))
    await assert.rejects(store.getImage(task.id, 0, 'png'), {
      code: 'unavailable',
      message: 'A stored file is damaged.',
      detail: new RegExp(`${task.id}/0.png is damaged`),
    })
    for (const text of ['{', '{}', 'null']) {
      await put(manifestKey(task.id), text)
      await assert.rejects(store.getManifest(task.id), {
        code: 'unavailable',
        message: 'The stored result of this job is damaged.',
        detail: `The manifest ${manifestKey(task.id)} is damaged.`,
      })
    }
  })

  test('a negative index is no picture', async (t) => {
    const store = s3ImageStore(await opened(t, await place(t)), { ttlSeconds })
    await assert.rejects(store.getImage(someTask().id, -1, 'png'), { code: 'not_found' })
    await assert.rejects(store.putImage(someTask().id, 0.5, 'png', Uint8Array.of(1)), { code: 'not_found' })
  })

  test('many commits on separate connections have one winner', async (t) => {
    const options = await place(t)
    const buckets = await Promise.all(Array.from({ length: 8 }, () => opened(t, options)))
    const stores = buckets.map((bucket) => s3ImageStore(bucket, { ttlSeconds }))
    for (let round = 0; round < 5; round += 1) {
      const task = someTask()
      const answers = await Promise.all(
        stores.map((store, attempts) => store.commit(someManifest(task, { attempts }))),
      )
      const standing = await stores[0]?.getManifest(task.id)
      for (const answer of answers) assert.deepEqual(answer, standing)
    }
  })
})

suite('s3 addresses for clients', () => {
  test('there are none without a public endpoint', async (t) => {
    const store = s3ImageStore(await opened(t, await place(t)), { ttlSeconds })
    assert.equal(await store.addressOf(someTask().id, 0, 'png', 3), undefined)
  })

  test('a picture is fetched without credentials, until the time is over', async (t) => {
    const options = await place(t)
    const bucket = await opened(t, { ...options, publicEndpoint: options.endpoint })
    const store = s3ImageStore(bucket, { ttlSeconds })
    const { id } = someTask()
    await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
    const address = (await store.addressOf(id, 0, 'png', stretched(3))) ?? ''
    const answer = await fetch(address)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('content-type'), 'image/png')
    assert.deepEqual([...(await answer.bytes())], [1, 2, 3])
    const kept = { format: 'webp', picture: Uint8Array.of(4, 5), document: Buffer.from('{}') } as const
    await store.putKept('ann', `${id}-0`, kept)
    const ofKept = await fetch((await store.keptAddressOf('ann', `${id}-0`, 'webp', 60)) ?? '')
    assert.equal(ofKept.headers.get('content-type'), 'image/webp')
    assert.deepEqual([...(await ofKept.bytes())], [4, 5])
    const status = async () => {
      const late = await fetch(address)
      await late.arrayBuffer()
      return late.status
    }
    await waitFor(async () => (await status()) !== 200)
    assert.equal(await status(), 403)
    await assert.rejects(async () => store.addressOf('..', 0, 'png', 2), { code: 'not_found' })
  })

  test('an address is signed for the public host, and for seven days at most', async (t) => {
    const options = await place(t)
    const bucket = await opened(t, { ...options, publicEndpoint: 'https://pictures.example' })
    const store = s3ImageStore(bucket, { ttlSeconds })
    const { id } = someTask()
    await store.putImage(id, 0, 'png', Uint8Array.of(1, 2, 3))
    const address = new URL((await store.addressOf(id, 0, 'png', 1e9)) ?? '')
    assert.equal(address.origin, 'https://pictures.example')
    assert.equal(address.searchParams.get('X-Amz-Expires'), '604800')
    assert.match(address.pathname, new RegExp(`/results/.*/${id}/0.png$`))
    // The host is part of the signature, so the same request to a different host is refused.
    const elsewhere = new URL(address.pathname + address.search, options.endpoint)
    assert.equal((await fetch(elsewhere)).status, 403)
  })
})
