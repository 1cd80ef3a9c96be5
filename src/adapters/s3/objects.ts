import { createHash } from 'node:crypto'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { AppError } from '../../jobs/errors.ts'
import type { ImageFormat, imageFiles } from '../../jobs/fields.ts'
import { retry } from '../../jobs/retry.ts'
import type { Connection } from './connection.ts'
import { reasonOf, unless } from './faults.ts'

/** Up to a thousand entries of a listing, in key order. */
interface Page {
  readonly objects: readonly {
    readonly key: string
    readonly modified: Date | undefined
    readonly bytes: number
  }[]
  /** With `byFolder`: deeper levels, as prefixes that end with a slash. */
  readonly folders: readonly string[]
}

type ContentType = (typeof imageFiles)[ImageFormat]['type'] | 'application/json'

/** The object exists but is not what was written: truncated, or changed by someone else. */
export class DamagedObject extends AppError {
  constructor(key: string) {
    super('unavailable', 'A stored file is damaged.', { detail: `The object ${key} is damaged.` })
  }
}

/** Objects by key, complete or absent. Every method rejects with a `StorageFault`. */
export interface Objects {
  /** Replaces an existing object. */
  put(key: string, bytes: Uint8Array, type: ContentType): Promise<void>
  /**
   * Writes on condition that there is none; returns false if there is one. True proves that this one is the first
   * only if the storage honours the condition.
   */
  putFirst(key: string, bytes: Uint8Array, type: ContentType): Promise<boolean>
  /** Undefined when there is none. Rejects `DamagedObject` too. */
  get(key: string): Promise<Uint8Array | undefined>
  /** The first bytes, or all of a shorter object; undefined when there is none. They are not compared with the hash. */
  getHead(key: string, bytes: number): Promise<Uint8Array | undefined>
  /** Deleting a missing object is not an error. */
  delete(key: string): Promise<void>
  /** Pages are requested as they are read. */
  list(under: string, options?: { readonly byFolder?: boolean }): AsyncIterable<Page>
  /** An address to GET this picture from for `seconds` (at most seven days), without credentials. */
  readonly addressOf?: (key: string, type: ContentType, seconds: number) => Promise<string>
}

const conflictTries = 5
const longestAddressSeconds = 7 * 86_400

export function bucketObjects(connection: Connection): Objects {
  const { client, publicClient, place, call } = connection
  const at = (key: string) => ({ Bucket: place.bucket, Key: place.prefix + key })

  const write = (key: string, bytes: Uint8Array, type: ContentType, condition: { IfNoneMatch?: '*' }) => {
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const command = new PutObjectCommand({
      ...at(key),
      ...condition,
      Body: body,
      ContentLength: body.length,
      ContentType: type,
      Metadata: { sha256: sha256Of(body) },
    })
    return (abortSignal: AbortSignal) => client.send(command, { abortSignal })
  }

  const objects: Objects = {
    async put(key, bytes, type) {
      await call('PutObject', write(key, bytes, type, {}))
    },

    putFirst: (key, bytes, type) =>
      call('PutObject', async (signal) => {
        const writeFirst = () => write(key, bytes, type, { IfNoneMatch: '*' })(signal)
        try {
          await retry(writeFirst, {
            firstMs: 200,
            longestMs: 5000,
            signal,
            onFailure(thrown, { failures }) {
              // Another writer is writing at this moment: which of them is first is not decided yet.
              if (reasonOf(thrown) !== 'ConditionalRequestConflict' || failures === conflictTries)
                throw thrown
            },
          })
          return true
        } catch (thrown) {
          if (reasonOf(thrown) === 'PreconditionFailed') return false
          throw thrown
        }
      }),

    async get(key) {
      const found = await call('GetObject', async (abortSignal) => {
        const answer = await unless(
          ['NoSuchKey'],
          client.send(new GetObjectCommand(at(key)), { abortSignal }),
        )
        if (answer === undefined) return undefined
        const bytes = (await answer.Body?.transformToByteArray()) ?? new Uint8Array()
        return { bytes, length: answer.ContentLength, sha256: answer.Metadata?.sha256 }
      })
      if (found === undefined) return undefined
      const { bytes, length, sha256 } = found
      if ((length ?? bytes.length) !== bytes.length || (sha256 ?? sha256Of(bytes)) !== sha256Of(bytes)) {
        throw new DamagedObject(place.prefix + key)
      }
      return bytes
    },

    getHead: (key, bytes) =>
      call('GetObject', async (abortSignal) => {
        const command = new GetObjectCommand({ ...at(key), Range: `bytes=0-${bytes - 1}` })
        const answer = await unless(['NoSuchKey'], client.send(command, { abortSignal }))
        if (answer === undefined) return undefined
        return (await answer.Body?.transformToByteArray()) ?? new Uint8Array()
      }),

    async delete(key) {
      await call('DeleteObject', (abortSignal) =>
        client.send(new DeleteObjectCommand(at(key)), { abortSignal }),
      )
    },

    async *list(under, { byFolder = false } = {}) {
      let token: string | undefined
      do {
        const command = new ListObjectsV2Command({
          Bucket: place.bucket,
          Prefix: place.prefix + under,
          ...(byFolder ? { Delimiter: '/' } : {}),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        })
        const answer = await call('ListObjectsV2', (abortSignal) => client.send(command, { abortSignal }))
        const below = (key: string | undefined) => (key ?? '').slice(place.prefix.length)
        yield {
          objects: (answer.Contents ?? []).map((o) => ({
            key: below(o.Key),
            modified: o.LastModified,
            bytes: o.Size ?? 0,
          })),
          folders: (answer.CommonPrefixes ?? []).map((o) => below(o.Prefix)),
        }
        token = answer.IsTruncated ? answer.NextContinuationToken : undefined
      } while (token !== undefined)
    },
  }
  if (publicClient === undefined) return objects

  const addressOf = (key: string, type: ContentType, seconds: number) =>
    call('GetObject', () =>
      getSignedUrl(publicClient, new GetObjectCommand({ ...at(key), ResponseContentType: type }), {
        expiresIn: Math.min(longestAddressSeconds, Math.max(1, Math.floor(seconds))),
        // The storage checks a URL by its own clock, which `client` learns from its answers.
        signingDate: new Date(Date.now() + client.config.systemClockOffset),
      }),
    )
  return { ...objects, addressOf }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
