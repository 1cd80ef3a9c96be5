import { randomBytes } from 'node:crypto'
import { type Bucket, type BucketOptions, openBucket } from '../../src/adapters/s3/bucket.ts'
import { connect } from '../../src/adapters/s3/connection.ts'
import { bucketObjects } from '../../src/adapters/s3/objects.ts'
import type { Log } from '../../src/jobs/log.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import type { Storage } from './provide.ts'

/** For tests: a prefix of its own in the bucket of the test services, emptied after the test. */

export function freshPlace(t: Cleanup, storage: Storage, log: Log): BucketOptions {
  const { s3Endpoint: endpoint, region, accessKeyId, secretAccessKey } = storage
  const url = `${storage.storageUrl.replace(/\/$/, '')}/test-${randomBytes(8).toString('hex')}`
  const options = { url, endpoint, region, log, credentials: { accessKeyId, secretAccessKey } }
  lastFirst(t).after(async () => {
    const connection = connect(options)
    const objects = bucketObjects(connection)
    for await (const page of objects.list('')) {
      await Promise.all(page.objects.map(({ key }) => objects.delete(key)))
    }
    connection.close()
  })
  return options
}

/** Opens the bucket, and closes it after the test. */
export async function opened(t: Cleanup, options: BucketOptions): Promise<Bucket> {
  const bucket = await openBucket(options)
  lastFirst(t).after(() => bucket.close())
  return bucket
}

/** The keys of all objects below the prefix. */
export async function keysOf(bucket: Bucket): Promise<string[]> {
  const keys: string[] = []
  for await (const page of bucket.list('')) keys.push(...page.objects.map(({ key }) => key))
  return keys
}
