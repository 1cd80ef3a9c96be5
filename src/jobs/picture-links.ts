import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto'
import { AppError } from './errors.ts'

/**
 * Links to single pictures, for people who may see a picture and nothing else of its job. A link is the encrypted job id
 * and index (AES-256-GCM, as base64url), since the id itself would give more rights. It works as long as the picture is
 * kept.
 */
export interface PictureLinks {
  /** The same picture always has the same link. */
  issue(id: string, index: number): string
  /** Throws `not_found` for a link that was not issued with one of the secrets. */
  open(link: string): { readonly id: string; readonly index: number }
}

const cipher = 'aes-256-gcm'
const nonceLength = 12
const tagLength = 16
const longestLink = 200

/** @param older secrets whose links are still opened */
export function createPictureLinks(secret: Uint8Array, ...older: readonly Uint8Array[]): PictureLinks {
  const keyFrom = (each: Uint8Array) => Buffer.from(hkdfSync('sha256', each, '', 'picture links', 32))
  const key = keyFrom(secret)
  const keys = [key, ...older.map(keyFrom)]
  return {
    issue(id, index) {
      const text = `${index} ${id}`
      // from the text, so that one nonce never encrypts two texts
      const nonce = createHmac('sha256', key).update(text).digest().subarray(0, nonceLength)
      const seal = createCipheriv(cipher, key, nonce)
      return Buffer.concat([nonce, seal.update(text), seal.final(), seal.getAuthTag()]).toString('base64url')
    },
    open(link) {
      const bytes = Buffer.from(link.slice(0, longestLink), 'base64url')
      // decoding ignores what is no base64: a link is written in one way
      for (const each of bytes.toString('base64url') === link ? keys : []) {
        const [, index, id] = /^(\d{1,4}) (.+)$/.exec(unseal(each, bytes) ?? '') ?? []
        if (id !== undefined) return { id, index: Number(index) }
      }
      throw new AppError('not_found', 'There is no picture with this link.', { param: 'link' })
    },
  }
}

/** Undefined if this key did not seal the bytes. */
function unseal(key: Uint8Array, bytes: Buffer): string | undefined {
  if (bytes.length <= nonceLength + tagLength) return undefined
  try {
    const opening = createDecipheriv(cipher, key, bytes.subarray(0, nonceLength), {
      authTagLength: tagLength,
    })
    opening.setAuthTag(bytes.subarray(-tagLength))
    return opening.update(bytes.subarray(nonceLength, -tagLength), undefined, 'utf8') + opening.final('utf8')
  } catch {
    return undefined
  }
}
