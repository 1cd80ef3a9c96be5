import { constants } from 'node:fs'
import { open, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { AppError, messageOf } from '../../jobs/errors.ts'
import { type Keyring, type KeysFile, keyring, noKeys, parseKeys } from '../../jobs/keys.ts'
import type { Log } from '../../jobs/log.ts'
import { storageError, unlessMissing, writeWhole } from './files.ts'
import { lockFile } from './folder-lock.ts'

/** The keys file: read while others may write it, watched, and changed by one command at a time. */

/** The file, and the user of this process; undefined where files have no owner. */
export interface KeysPlace {
  readonly path: string
  readonly uid: number | undefined
}

const param = 'PACKSHOT_KEYS_FILE'
const mostBytes = 16 * 2 ** 20
const lockWaitMs = 10_000

interface ReadKeys {
  readonly keys: KeysFile
  /** Differs after every change of content, owner or mode, and for another file in its place. */
  readonly stamp: string
}

interface Stats {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly mode: bigint
  readonly uid: bigint
}

function stampOf({ ino, size, mtimeNs, ctimeNs }: Stats): string {
  return [ino, size, mtimeNs, ctimeNs].join(' ')
}

/** Rejects `unavailable` with a sentence that says what to do, for a file that is missing, damaged or not private. */
async function readKeys({ path, uid }: KeysPlace): Promise<ReadKeys> {
  // a pipe in its place must not hold the program
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw fault(reasonOf(cause), cause)
  })
  try {
    const before = await file.stat({ bigint: true })
    if (!before.isFile()) throw fault(`${path} is not a file.`)
    const exposed = otherUsers(before, uid)
    if (exposed !== undefined) {
      const mode = (Number(before.mode) & 0o777).toString(8)
      throw fault(
        `The keys file ${path} can be ${exposed} by other users (mode ${mode}). Run: chmod 600 ${path}`,
      )
    }
    if (before.size > mostBytes) throw fault(`The keys file ${path} has more than ${mostBytes} bytes.`)
    const text = await file.readFile('utf8')
    const stamp = stampOf(before)
    if (stamp !== stampOf(await file.stat({ bigint: true }))) {
      throw fault(`The keys file ${path} changed while it was read.`)
    }
    return { keys: parsed(path, text), stamp }
  } finally {
    await file.close()
  }

  function reasonOf(cause: unknown): string {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT')
      return `There is no keys file ${path}. \`npm run keys -- add NAME\` creates it, with ${param} set to this path.`
    return `The keys file ${path} cannot be read: ${messageOf(cause)}.`
  }
}

function fault(message: string, cause?: unknown): AppError {
  return new AppError('unavailable', message, { param, cause })
}

function parsed(path: string, text: string): KeysFile {
  try {
    return parseKeys(text)
  } catch (cause) {
    throw fault(`The keys file ${path} ${messageOf(cause)}.`, cause)
  }
}

/**
 * What other users can do with the file. That its group reads it is right where this process reads it as one of the
 * group: Kubernetes mounts a secret as root's, for the pod's `fsGroup`.
 */
function otherUsers({ mode, uid: owner }: Stats, uid: number | undefined): string | undefined {
  if (uid === undefined) return undefined
  const byGroup = uid !== 0 && owner === 0n
  if ((mode & 0o022n) !== 0n) return 'changed'
  return (mode & (byGroup ? 0o004n : 0o044n)) === 0n ? undefined : 'read'
}

export interface WatchedKeys {
  /** The last good version. */
  current(): Keyring
  close(): void
}

/**
 * The keys of a file, read again when it changes. Rejects `unavailable` if it cannot be used now; later such a change is
 * logged, once, and the last good version stays. It is polled: notifications of the system are lost on mounts and when
 * another file takes its place.
 */
export async function watchKeys(place: KeysPlace, log: Log, everyMs = 1000): Promise<WatchedKeys> {
  const first = await readKeys(place)
  if (first.keys.callers.length === 0) {
    log.warn({}, `The keys file ${place.path} has no callers: every call that needs a key is refused.`)
  }
  let ring = keyring(first.keys)
  let seen = first.stamp
  let closed = false
  const look = async () => {
    const stamp = await stat(place.path, { bigint: true }).then(stampOf, messageOf)
    if (stamp === seen) return
    seen = stamp
    try {
      const { keys, stamp: read } = await readKeys(place)
      ring = keyring(keys)
      seen = read
      log.info({ callers: keys.callers.length }, 'the keys file was read again')
    } catch (thrown) {
      log.error({}, `${messageOf(thrown)} The keys that were read before stay in use.`)
    }
  }
  let timer: NodeJS.Timeout | undefined
  const next = () => {
    if (closed) return
    timer = setTimeout(() => void look().finally(next), everyMs).unref()
  }
  next()
  return {
    current: () => ring,
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

/** The keys of the file; none if there is no file. Rejects `unavailable`. */
export async function loadKeys(place: KeysPlace): Promise<KeysFile> {
  const exists = (await unlessMissing(stat(place.path))) !== undefined
  return exists ? (await readKeys(place)).keys : noKeys
}

/**
 * Replaces the file by what `change` makes of it, while no other command does the same; readers see the old one or the new
 * one. A link stays a link. Rejects `unavailable`, `storage_full`, and with what `change` throws.
 */
export async function changeKeys(place: KeysPlace, change: (keys: KeysFile) => KeysFile): Promise<void> {
  const path = (await unlessMissing(realpath(place.path))) ?? place.path
  const lock = await locked(path)
  try {
    const before = await unlessMissing(stat(path))
    const keys = change(await loadKeys({ ...place, path }))
    const text = `${JSON.stringify(keys, undefined, 2)}\n`
    await writeWhole(path, Buffer.from(text), async (file) => {
      await file.chmod(0o600 | ((before?.mode ?? 0) & 0o040))
      const { uid, gid } = await file.stat()
      if (before !== undefined && (before.uid !== uid || before.gid !== gid))
        await file.chown(before.uid, before.gid)
    }).catch((thrown: unknown) => {
      throw unwritable(path, thrown)
    })
  } finally {
    lock.release()
  }
}

async function locked(path: string) {
  const folder = dirname(path)
  let lock: ReturnType<typeof lockFile>
  try {
    if ((await unlessMissing(stat(folder))) === undefined) throw new Error('there is no such folder')
    lock = lockFile(join(folder, `.${basename(path)}.lock`), lockWaitMs)
  } catch (thrown) {
    throw unwritable(path, thrown)
  }
  if (lock !== undefined) return lock
  throw fault(`Another \`npm run keys\` is changing ${path}. Try again when it has ended.`)
}

function unwritable(path: string, thrown: unknown): AppError {
  const { code } = storageError(thrown, dirname(path))
  const message = `The keys file ${path} cannot be written (${messageOf(thrown)}). Run this as the user whose file it is, where the file can be changed.`
  return new AppError(code, message, { param, cause: thrown })
}
