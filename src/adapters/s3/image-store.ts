import type { ImageStore, StoredFile } from '../../jobs/ports.ts'
import { pictureFiles, uploadHeadBytes } from '../../jobs/stored-names.ts'
import type { Bucket } from './bucket.ts'
import { s3Kept } from './kept.ts'
import { imageKey, keptKey, keptRoot, resultsFolder, uploadKey, uploadsFolder } from './keys.ts'
import { commitManifest, readManifest, replaceManifest } from './manifests.ts'
import { s3Runs } from './runs.ts'
import { sweepExpired } from './sweep.ts'

/**
 * Pictures and manifests in a bucket. Every write is one PUT, which is whole or nothing; the sha-256 of the bytes
 * goes with each object and is compared when it is read. Every request ends within the bucket's `requestMs`.
 * `addressOf` returns an address only if the bucket has a public endpoint.
 */
export function s3ImageStore(bucket: Bucket, options: { readonly ttlSeconds: number }): ImageStore {
  const { addressOf } = bucket
  return {
    putImage: async (id, index, format, bytes) =>
      bucket.put(imageKey(id, index, format), bytes, pictureFiles[format].type),
    getImage: async (id, index, format) => bucket.get(imageKey(id, index, format)),
    openImage: async (id, index, format) => whole(await bucket.get(imageKey(id, index, format))),
    addressOf: async (id, index, format, seconds) =>
      addressOf?.(imageKey(id, index, format), pictureFiles[format].type, seconds),
    commit: (manifest) => commitManifest(bucket, manifest),
    getManifest: (id) => readManifest(bucket, id),
    putUpload: async (id, bytes) => bucket.put(uploadKey(id), bytes, 'image/png'),
    getUpload: async (id) => bucket.get(uploadKey(id)),
    openUpload: async (id) => whole(await bucket.get(uploadKey(id))),
    getUploadHead: async (id) => bucket.getHead(uploadKey(id), uploadHeadBytes),
    deleteUpload: async (id) => bucket.delete(uploadKey(id)),
    async purge(tombstone, { images, request }) {
      await replaceManifest(bucket, tombstone)
      for (const { index, original } of images) {
        await bucket.delete(imageKey(tombstone.id, index, request.format))
        if (original !== undefined) await bucket.delete(imageKey(tombstone.id, index, 'original'))
      }
    },
    ...s3Runs(bucket),
    ...s3Kept(bucket),
    openKept: async (owner, id, format) => whole(await bucket.get(keptKey(owner, id, format))),
    measure: async () => ({
      uploads: await bytesUnder(bucket, uploadsFolder),
      results: (await bytesUnder(bucket, resultsFolder)) + (await bytesUnder(bucket, keptRoot)),
    }),
    /** A bucket does not tell. */
    freeBytes: async () => undefined,
    sweep: (now) => sweepExpired(bucket, options.ttlSeconds, now),
  }
}

/** Read to its end, for its hash, and so that a client that reads slowly keeps no connection to the storage. */
function whole(bytes: Uint8Array | undefined): StoredFile | undefined {
  return bytes === undefined ? undefined : { bytes: bytes.byteLength, body: bytes }
}

async function bytesUnder(bucket: Bucket, folder: string): Promise<number> {
  let sum = 0
  for await (const { objects } of bucket.list(folder)) for (const { bytes } of objects) sum += bytes
  return sum
}
