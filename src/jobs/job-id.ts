import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'
import { anonymous } from './caller.ts'
import { AppError } from './errors.ts'
import { createPictureLinks, type PictureLinks } from './picture-links.ts'
import { createSeals, type Seals } from './seals.ts'

/**
 * A job id is a ULID (10 characters of time, 16 random) followed by 16 characters of its HMAC, all in lower-case
 * Crockford base32: 42 characters, safe in a path, sorted by time. Any server that has the secret distinguishes an id
 * that was never issued, one without data yet and one that is too old, without asking a store. The name of its owner is
 * signed too: for every other caller an id was never issued.
 */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const shape = /^[0-7][0-9a-hjkmnp-tv-z]{41}$/
const timeLength = 10
const ulidLength = 26

/**
 * An idempotency key gives the same id throughout its window, and the id's time is the window's start.
 * So an id can seem older than its job by this much.
 */
const keyWindowMs = 3_600_000

/** Ids that are remembered as verified, 2 MB: the id of a job is polled again and again, and its HMAC takes 13 us. */
const mostVerified = 10_000

type Kind = 'job' | 'upload' | 'catalogue'

export interface JobIds {
  /** @param owner the name of the caller; absent: `anonymous` */
  issue(now: Date, owner?: string): string
  /** Ids of the same form for uploads: neither is ever mistaken for the other. */
  readonly uploads: {
    issue(now: Date, owner?: string): string
    /** Throws `not_found` unless this id was issued to this owner for an upload with the same secret. */
    verify(id: string, owner?: string): void
  }
  /** Ids of the same form for catalogue runs (see `catalogue/documents.ts` for their time). */
  readonly catalogues: {
    issue(time: Date, owner?: string): string
    /** The id that a caller's key has if the run began at this time. */
    fromKey(account: string, key: string, time: Date, owner?: string): string
    /** Throws `not_found` unless this id was issued to this owner for a run with the same secret. */
    verify(id: string, owner?: string): void
  }
  /** The ids that a caller's key has now: that of this window, then that of the previous one. */
  fromKey(account: string, key: string, now: Date, owner?: string): readonly [string, string]
  /**
   * The id that a name always has, for work that is derived from other work. `time` is the time of the id, from which its
   * expiry counts: it may be in the future for a job that is kept for longer than others.
   */
  fromName(name: string, time: Date, owner?: string): string
  /** A seed that a caller's key always has, and that nobody else can know. */
  seedFromKey(account: string, key: string): number
  /** A seed that a name always has. */
  seedFromName(name: string): number
  /** The same for every job of an account, and no way back to it. */
  accountTag(account: string): string
  /** Throws `not_found` unless this id was issued to this owner with the same secret. Anything that passes is safe in a path. */
  verify(id: string, owner?: string): void
  issuedAt(id: string): Date
  /** Links to single pictures. */
  readonly pictures: PictureLinks
  /** What an address allows that needs no key is sealed in it. */
  readonly grants: Seals
  /** The workspace of a browser is sealed in its cookie. */
  readonly workspaces: Seals
}

/** @param older secrets that signed ids before: those ids are accepted, none is issued */
export function createJobIds(secret: Uint8Array, ...older: readonly Uint8Array[]): JobIds {
  const key = createSecretKey(secret)
  const keys = [key, ...older.map((each) => createSecretKey(each))]
  const macBy = (by: KeyObject, text: string, length: number) =>
    encode(createHmac('sha256', by).update(text).digest()).slice(0, length)
  const mac = (text: string, length: number) => macBy(key, text, length)
  const signFor =
    (kind: Kind) =>
    (ulid: string, owner: string, by = key) =>
      ulid + macBy(by, owner === anonymous ? `${kind}:${ulid}` : `${kind}:${owner}:${ulid}`, 16)
  const sign = signFor('job')
  const signUpload = signFor('upload')
  const signCatalogue = signFor('catalogue')
  // the length keeps one caller's key from being another's
  const named = (account: string, name: string) => `${account.length}:${account}:${name}`
  const derive = (name: string, windowStart: number, owner: string) =>
    sign(encodeTime(windowStart) + mac(`key:${windowStart}:${name}`, 16), owner)
  const fresh = (now: Date) => encodeTime(now.getTime()) + encode(randomBytes(10))
  const verified = new Set<string>()
  const isSigned = (id: string, owner: string, kind: Kind) => {
    if (!shape.test(id)) return false
    const whole = `${kind}:${id}:${owner}`
    if (verified.has(whole)) return true
    const signed = signFor(kind)
    const isOurs = keys.some((by) =>
      timingSafeEqual(Buffer.from(signed(id.slice(0, ulidLength), owner, by)), Buffer.from(id)),
    )
    if (isOurs) {
      if (verified.size >= mostVerified) verified.clear()
      verified.add(whole)
    }
    return isOurs
  }
  return {
    issue: (now, owner = anonymous) => sign(fresh(now), owner),
    uploads: {
      issue: (now, owner = anonymous) => signUpload(fresh(now), owner),
      verify(id, owner = anonymous) {
        if (isSigned(id, owner, 'upload')) return
        const message = isSigned(id, owner, 'job')
          ? 'This is the id of a job, not of an upload.'
          : 'There is no upload with this id.'
        throw new AppError('not_found', message, { param: 'id' })
      },
    },
    catalogues: {
      issue: (time, owner = anonymous) => signCatalogue(fresh(time), owner),
      fromKey: (account, name, time, owner = anonymous) =>
        signCatalogue(
          encodeTime(time.getTime()) + mac(`catalogue:${time.getTime()}:${named(account, name)}`, 16),
          owner,
        ),
      verify(id, owner = anonymous) {
        if (isSigned(id, owner, 'catalogue')) return
        throw new AppError('not_found', 'There is no catalogue run with this id.', { param: 'id' })
      },
    },
    fromKey(account, name, now, owner = anonymous) {
      const start = now.getTime() - (now.getTime() % keyWindowMs)
      const whose = named(account, name)
      return [derive(whose, start, owner), derive(whose, start - keyWindowMs, owner)]
    },
    fromName: (name, time, owner = anonymous) =>
      sign(encodeTime(time.getTime()) + mac(`name:${name}`, 16), owner),
    seedFromKey: (account, name) =>
      createHmac('sha256', key)
        .update(`seed:${named(account, name)}`)
        .digest()
        .readUInt32BE(0),
    seedFromName: (name) => createHmac('sha256', key).update(`seed:name:${name}`).digest().readUInt32BE(0),
    accountTag: (account) => mac(`account:${account}`, 16),
    verify(id, owner = anonymous) {
      if (isSigned(id, owner, 'job')) return
      const message = isSigned(id, owner, 'upload')
        ? 'This is the id of an upload, not of a job.'
        : 'There is no job with this id.'
      throw new AppError('not_found', message, { param: 'id' })
    },
    issuedAt: jobIdTime,
    pictures: createPictureLinks(secret, ...older),
    grants: createSeals('grants', secret, ...older),
    workspaces: createSeals('workspaces', secret, ...older),
  }
}

/** Whether the string has the form of a job id. Does not check who issued it. */
export function isJobIdShaped(id: string): boolean {
  return shape.test(id)
}

/** When an id of the right shape was issued. */
export function jobIdTime(id: string): Date {
  let time = 0
  for (const character of id.slice(0, timeLength)) time = time * 32 + alphabet.indexOf(character)
  return new Date(time)
}

/** Whether a job with this id must have expired, judged by the id alone. */
export function hasExpired(id: string, ttlSeconds: number, now: Date): boolean {
  const issued = jobIdTime(id).getTime()
  const slack = issued % keyWindowMs === 0 ? keyWindowMs : 0
  return issued + slack + ttlSeconds * 1000 <= now.getTime()
}

/** The start of the window in which a repeated idempotency key finds what it made, and of the window before. */
export function keyWindows(now: Date): readonly [Date, Date] {
  const start = now.getTime() - (now.getTime() % keyWindowMs)
  return [new Date(start), new Date(start - keyWindowMs)]
}

/** Slack for uploads on servers whose clocks differ. */
const clockSlackSeconds = 3600

/** Minimum time for which an upload is kept. */
export function uploadKeptSeconds(ttlSeconds: number): number {
  return 2 * ttlSeconds + clockSlackSeconds
}

/** Whether no job can still need the upload, judged by its id alone. */
export function uploadIsOver(id: string, ttlSeconds: number, now: Date): boolean {
  return hasExpired(id, uploadKeptSeconds(ttlSeconds), now)
}

export function expiryOf(createdAt: string, ttlSeconds: number): string {
  return new Date(Date.parse(createdAt) + ttlSeconds * 1000).toISOString()
}

function encodeTime(time: number): string {
  let rest = time
  let text = ''
  for (let i = 0; i < timeLength; i += 1) {
    text = alphabet.charAt(rest % 32) + text
    rest = Math.floor(rest / 32)
  }
  return text
}

/** Base32 without padding; bits that do not fill a character are dropped. */
function encode(bytes: Uint8Array): string {
  let text = ''
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xfff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet.charAt((buffer >> bits) & 31)
    }
  }
  return text
}
