import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { AppError } from '../../jobs/errors.ts'
import { jitter } from '../../jobs/jitter.ts'
import type { Connection } from './connection.ts'
import { reasonOf, unless } from './faults.ts'

/** Up to a thousand entries of a listing, in key order. */
interface Page {
  readonly objects: readonly { readonly key: string; readonly modified: Date | undefined }[]
  /** With `byFolder`: deeper levels, as prefixes that end with a slash. */
  readonly folders: readonly string[]
}

type ContentType = 'image/png' | 'application/json'

/** The object exists but is not what was written: truncated, or changed by someone else. */
export class DamagedObject extends AppError {
  constructor(key: string) {
    super('unavailable', `The object ${key} is damaged.`)
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
  /** Deleting a missing object is not an error. */
  delete(key: string): Promise<void>
  /** Pages are requested as they are read. */
  list(under: string, options?: { readonly byFolder?: boolean }): AsyncIterable<Page>
  /** A URL to GET this picture from for `seconds` (at most seven days), without credentials. */
  readonly addressOf?: (key: string, seconds: number) => Promise<string>
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
        for (let attempt = 1; ; attempt += 1) {
          try {
            await write(key, bytes, type, { IfNoneMatch: '*' })(signal)
            return true
          } catch (thrown) {
            const reason = reasonOf(thrown)
            if (reason === 'PreconditionFailed') return false
            // Another write is in progress: which is first is not decided yet.
            if (reason !== 'ConditionalRequestConflict' || attempt === conflictTries) throw thrown
            await sleep(jitter(100 * 2 ** attempt), undefined, { signal })
          }
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
          objects: (answer.Contents ?? []).map((o) => ({ key: below(o.Key), modified: o.LastModified })),
          folders: (answer.CommonPrefixes ?? []).map((o) => below(o.Prefix)),
        }
        token = answer.IsTruncated ? answer.NextContinuationToken : undefined
      } while (token !== undefined)
    },
  }
  if (publicClient === undefined) return objects

  const addressOf = (key: string, seconds: number) =>
    call('GetObject', () =>
      getSignedUrl(publicClient, new GetObjectCommand({ ...at(key), ResponseContentType: 'image/png' }), {
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
