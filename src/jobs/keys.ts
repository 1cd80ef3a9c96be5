import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { anonymous, scopes } from './caller.ts'
import { priorities } from './fields.ts'

/**
 * Keys of callers, and the file that lists them (`PACKSHOT_KEYS_FILE`). A key is `pks_<id>_<secret>`: the id is 10
 * characters and no secret; the secret has 256 random bits, so its SHA-256 is stored as it is: slow hashes are for
 * passwords, which can be guessed.
 */

const Limit = Type.Integer({ minimum: 0, maximum: 1_000_000_000 })

const StoredKey = Type.Object(
  {
    id: Type.String({ pattern: '^[0-9a-hjkmnp-tv-z]{10}$' }),
    /** Of the whole key, in hexadecimal digits. */
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    created: Type.String(),
    expires: Type.Optional(Type.String()),
    disabled: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
export type StoredKey = Static<typeof StoredKey>

const StoredCaller = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9][a-z0-9_-]{0,39}$' }),
    disabled: Type.Optional(Type.Boolean()),
    /** Absent: all. */
    scopes: Type.Optional(Type.Array(Type.Enum(scopes))),
    /** Each absent one is that of a caller without a key; 0 is no limit. */
    limits: Type.Optional(
      Type.Object(
        {
          jobs_per_minute: Type.Optional(Limit),
          jobs_in_flight: Type.Optional(Limit),
          units_per_day: Type.Optional(Limit),
        },
        { additionalProperties: false },
      ),
    ),
    /** Absent: all. */
    priorities: Type.Optional(Type.Array(Type.Enum(priorities), { minItems: 1 })),
    webhook: Type.Optional(
      Type.Object(
        {
          url: Type.Optional(Type.String({ minLength: 1, maxLength: 2000 })),
          secret: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
        },
        { additionalProperties: false },
      ),
    ),
    keys: Type.Array(StoredKey),
  },
  { additionalProperties: false },
)
export type StoredCaller = Static<typeof StoredCaller>

const KeysFile = Type.Object(
  { version: Type.Literal(1), callers: Type.Array(StoredCaller) },
  { additionalProperties: false },
)
export type KeysFile = Static<typeof KeysFile>

export const noKeys: KeysFile = { version: 1, callers: [] }

/** Throws an `Error` whose message completes "the keys file ...", without any value of the file in it. */
export function parseKeys(text: string): KeysFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error(text.trim() === '' ? 'is empty' : 'is not complete JSON')
  }
  if (!Value.Check(KeysFile, value)) {
    const [fault] = Value.Errors(KeysFile, value)
    const extra = fault?.keyword === 'additionalProperties' ? ` (${namesOf(fault.params)})` : ''
    throw new Error(`is wrong at ${fault?.instancePath || '/'}: it ${fault?.message}${extra}`)
  }
  const names = value.callers.map(({ name }) => name)
  const ids = value.callers.flatMap(({ keys }) => keys.map(({ id }) => id))
  const twice = [...names, ...ids].find((each, index, all) => all.indexOf(each) < index)
  if (twice !== undefined) throw new Error(`has "${twice}" twice`)
  if (names.includes(anonymous)) throw new Error(`must not name a caller "${anonymous}"`)
  for (const { id, created, expires = created } of value.callers.flatMap(({ keys }) => keys)) {
    if (Number.isNaN(Date.parse(created)) || Number.isNaN(Date.parse(expires)))
      throw new Error(`has a time of the key ${id} that is not one such as 2027-01-31T00:00:00Z`)
  }
  return value
}

function namesOf(params: object): string {
  return Object.values(params).flat().map(String).join(', ').slice(0, 100)
}

/** Characters that people do not mistake for one another; for the secret, all that a double click selects. */
const idAlphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const secretAlphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const secretLength = 43
const form = /^pks_([0-9a-hjkmnp-tv-z]{10})_[0-9A-Za-z]{43}$/

/** A new key, which is shown once, and what is kept of it. */
export function newKey(now: Date, expires?: Date): { readonly key: string; readonly stored: StoredKey } {
  const id = Array.from(randomBytes(10), (byte) => idAlphabet[byte % 32]).join('')
  let rest = BigInt(`0x${randomBytes(32).toString('hex')}`)
  let secret = ''
  for (let n = 0; n < secretLength; n += 1) {
    secret += secretAlphabet[Number(rest % 62n)]
    rest /= 62n
  }
  const key = `pks_${id}_${secret}`
  const stored = {
    id,
    sha256: hashOf(key).toString('hex'),
    created: now.toISOString(),
    ...(expires === undefined ? {} : { expires: expires.toISOString() }),
  }
  return { key, stored }
}

/** A text without the secrets of the keys in it. */
export function withoutSecrets(text: string): string {
  return text.replace(/\bpks_([0-9a-z]{10})_[0-9A-Za-z]+/g, 'pks_$1_...')
}

/** Why a key does not count now. */
type KeyFault = 'disabled' | 'expired'

export interface FoundKey {
  readonly caller: StoredCaller
  readonly keyId: string
  readonly fault: KeyFault | undefined
}

/** The keys of a file, found by their ids. */
export interface Keyring {
  /**
   * The key that was sent. Undefined for one that is unknown or has another secret: neither the answer nor the time it
   * takes distinguishes the two.
   */
  find(key: string, now: Date): FoundKey | undefined
  /** A key that was recognised before, while it still belongs to this caller. */
  recall(keyId: string, name: string, now: Date): FoundKey | undefined
  /** One of the keys of a caller that count now, for work that it asked for before. */
  anyOf(name: string, now: Date): FoundKey | undefined
  /** The generation of the secret that webhooks of the caller of this name are signed with. */
  webhookGeneration(name: string): number
}

const longestKey = 200
const noHash = Buffer.alloc(32)

export function keyring({ callers }: KeysFile): Keyring {
  const known = new Map(
    callers.flatMap((caller) =>
      caller.keys.map((key) => [key.id, { caller, key, hash: Buffer.from(key.sha256, 'hex') }] as const),
    ),
  )
  const faultOf = (caller: StoredCaller, key: StoredKey, now: Date): KeyFault | undefined => {
    if (caller.disabled === true || key.disabled === true) return 'disabled'
    return key.expires !== undefined && Date.parse(key.expires) <= now.getTime() ? 'expired' : undefined
  }
  const generations = new Map(callers.map(({ name, webhook }) => [name, webhook?.secret ?? 1]))
  return {
    anyOf(name, now) {
      const caller = callers.find((each) => each.name === name)
      const key = caller?.keys.find((each) => faultOf(caller, each, now) === undefined)
      return caller === undefined || key === undefined
        ? undefined
        : { caller, keyId: key.id, fault: undefined }
    },
    webhookGeneration: (name) => generations.get(name) ?? 1,
    find(text, now) {
      const id = form.exec(text)?.[1] ?? ''
      const entry = known.get(id)
      const same = timingSafeEqual(hashOf(text.slice(0, longestKey)), entry?.hash ?? noHash)
      if (!same || entry === undefined) return undefined
      return { caller: entry.caller, keyId: id, fault: faultOf(entry.caller, entry.key, now) }
    },
    recall(keyId, name, now) {
      const entry = known.get(keyId)
      if (entry?.caller.name !== name) return undefined
      return { caller: entry.caller, keyId, fault: faultOf(entry.caller, entry.key, now) }
    },
  }
}

function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
