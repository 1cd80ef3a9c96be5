import type { ImageStore } from '../../jobs/ports.ts'
import type { Bucket } from './bucket.ts'
import { imageKey, uploadKey } from './keys.ts'
import { commitManifest, readManifest } from './manifests.ts'
import { sweepExpired } from './sweep.ts'

/**
 * Pictures and manifests in a bucket. Every write is one PUT, all or nothing; the SHA-256 of the bytes
 * is stored with each object and compared when it is read. Every request ends within the bucket's `requestMs`.
 * `addressOf` exists if the bucket has a public endpoint.
 */
export function s3ImageStore(bucket: Bucket, options: { readonly ttlSeconds: number }): ImageStore {
  const { addressOf } = bucket
  return {
    putImage: async (id, index, bytes) => bucket.put(imageKey(id, index), bytes, 'image/png'),
    getImage: async (id, index) => bucket.get(imageKey(id, index)),
    ...(addressOf === undefined
      ? {}
      : { addressOf: async (id, index, seconds) => addressOf(imageKey(id, index), seconds) }),
    commit: (manifest) => commitManifest(bucket, manifest),
    getManifest: (id) => readManifest(bucket, id),
    putUpload: async (id, bytes) => bucket.put(uploadKey(id), bytes, 'image/png'),
    getUpload: async (id) => bucket.get(uploadKey(id)),
    sweep: (now) => sweepExpired(bucket, options.ttlSeconds, now),
  }
}
