import { imageFiles, imageFormats } from '../../jobs/fields.ts'
import type { ImageStore } from '../../jobs/ports.ts'
import { keptEntries } from '../../jobs/stored-names.ts'
import type { Bucket } from './bucket.ts'
import { keptKey, keptPrefix } from './keys.ts'

type KeptMethods = 'putKept' | 'getKept' | 'keptAddressOf' | 'deleteKept' | 'listKept'

/** Pictures that are kept for good: no sweep and no rule of ours deletes what is below their prefix. */
export function s3Kept(bucket: Bucket): Pick<ImageStore, KeptMethods> {
  const { addressOf } = bucket
  return {
    async putKept(owner, id, { format, picture, document }) {
      await bucket.put(keptKey(owner, id, format), picture, imageFiles[format].type)
      await bucket.put(keptKey(owner, id, 'document'), document, 'application/json')
    },
    getKept: async (owner, id) => bucket.get(keptKey(owner, id, 'document')),
    keptAddressOf: async (owner, id, format, seconds) =>
      addressOf?.(keptKey(owner, id, format), imageFiles[format].type, seconds),
    async deleteKept(owner, id) {
      for (const kind of ['document', ...imageFormats] as const) await bucket.delete(keptKey(owner, id, kind))
    },
    async listKept(owner) {
      const prefix = keptPrefix(owner)
      const files: { name: string; at: Date }[] = []
      for await (const { objects } of bucket.list(prefix)) {
        for (const { key, modified } of objects) {
          // without a time it is not known to be old
          files.push({ name: key.slice(prefix.length), at: modified ?? new Date() })
        }
      }
      return keptEntries(files)
    },
  }
}
