import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto'

/** Short texts that only this installation can write and read, for addresses: AES-256-GCM, as base64url. */
export interface Seals {
  /** The same text is always sealed in the same way. */
  seal(text: string): string
  /** Undefined for what was not sealed for this purpose with one of the secrets. */
  open(sealed: string): string | undefined
}

const cipher = 'aes-256-gcm'
const nonceLength = 12
const tagLength = 16
const longest = 1000

/**
 * @param purpose what is sealed for one purpose cannot be opened for another
 * @param older secrets whose seals are still opened
 */
export function createSeals(purpose: string, secret: Uint8Array, ...older: readonly Uint8Array[]): Seals {
  const keyFrom = (each: Uint8Array) => Buffer.from(hkdfSync('sha256', each, '', purpose, 32))
  const key = keyFrom(secret)
  const keys = [key, ...older.map(keyFrom)]
  return {
    seal(text) {
      // from the text, so that one nonce never encrypts two texts
      const nonce = createHmac('sha256', key).update(text).digest().subarray(0, nonceLength)
      const sealing = createCipheriv(cipher, key, nonce)
      return Buffer.concat([nonce, sealing.update(text), sealing.final(), sealing.getAuthTag()]).toString(
        'base64url',
      )
    },
    open(sealed) {
      if (sealed.length > longest) return undefined
      const bytes = Buffer.from(sealed, 'base64url')
      // decoding ignores what is no base64: a text is sealed in one way
      if (bytes.toString('base64url') !== sealed) return undefined
      return keys.map((each) => unseal(each, bytes)).find((text) => text !== undefined)
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
