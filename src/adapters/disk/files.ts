import { randomBytes } from 'node:crypto'
import { type FileHandle, link, mkdir, open, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, toAppError } from '../../jobs/errors.ts'

/**
 * Files that are complete or absent. Bytes are written under a temporary name in the same directory and synced, then
 * the file is renamed and the directory synced: after a power cut the old or the new file exists, never a part of
 * one. A temporary file left by a crash is never a result; the sweeper recognises it by `isTemporary`.
 */

const temporary = /^\.tmp-[0-9a-f]{16}$/
const lockName = '.tmp-lock'

export function isTemporary(name: string): boolean {
  return temporary.test(name)
}

/**
 * Replaces an existing file.
 * @param prepare is given the new file while it is empty: for its owner and mode
 */
export async function writeWhole(
  path: string,
  bytes: Uint8Array,
  prepare?: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await viaTemporary(path, bytes, (temp) => rename(temp, path), prepare)
}

/** Returns false, and changes nothing, if the file exists: of many writers exactly one wins. */
export async function writeFirst(path: string, bytes: Uint8Array): Promise<boolean> {
  return viaTemporary(path, bytes, async (temp) => {
    try {
      return await linkFirst(temp, path)
    } catch (thrown) {
      if (!withoutLinks.has(codeOf(thrown) ?? '')) throw thrown
      return await renameFirst(temp, path)
    } finally {
      await rm(temp, { force: true })
    }
  })
}

/** What link(2) says on file systems that have no hard links, such as FAT, exFAT and many of FUSE. */
const withoutLinks: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

async function linkFirst(temp: string, path: string): Promise<boolean> {
  try {
    await link(temp, path)
    return true
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false
    throw thrown
  }
}

/** A lock is held for one look and one rename: an older one was left behind by a crash. */
const staleMs = 10_000
const lockPauseMs = 5

/**
 * The same without hard links: a rename that replaces nothing, because all writers take turns. The lock is a folder,
 * which only one of them can create. It is in the way of nobody who reads.
 */
export async function renameFirst(temp: string, path: string): Promise<boolean> {
  const lock = join(dirname(path), lockName)
  for (;;) {
    try {
      await mkdir(lock)
      break
    } catch (thrown) {
      if (codeOf(thrown) !== 'EEXIST') throw thrown
      if (!(await isStale(lock)) || !(await breakLock(lock))) await sleep(lockPauseMs)
    }
  }
  try {
    if ((await unlessMissing(stat(path))) !== undefined) return false
    await rename(temp, path)
    return true
  } finally {
    await unlessMissing(rmdir(lock))
  }
}

async function isStale(lock: string): Promise<boolean> {
  const held = await unlessMissing(stat(lock))
  return held !== undefined && Date.now() - held.mtimeMs > staleMs
}

/**
 * Only one writer at a time removes a stale lock, and looks again before it does: what another one saw before may by
 * now be the lock of a third, who is at work. Returns false if somebody else is about to.
 */
async function breakLock(lock: string): Promise<boolean> {
  const breaking = `${lock}-break`
  try {
    await mkdir(breaking)
  } catch (thrown) {
    if (codeOf(thrown) !== 'EEXIST') throw thrown
    // left behind by a crash in the two calls below
    if (await isStale(breaking)) await unlessMissing(rmdir(breaking))
    return false
  }
  try {
    if (await isStale(lock)) await unlessMissing(rmdir(lock))
  } finally {
    await unlessMissing(rmdir(breaking))
  }
  return true
}

async function viaTemporary<T>(
  path: string,
  bytes: Uint8Array,
  place: (temp: string) => Promise<T>,
  prepare?: (file: FileHandle) => Promise<void>,
): Promise<T> {
  const folder = dirname(path)
  const temp = join(folder, `.tmp-${randomBytes(8).toString('hex')}`)
  await makeFolder(folder)
  try {
    const file = await open(temp, 'wx')
    try {
      await prepare?.(file)
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    const placed = await place(temp)
    await syncFolder(folder)
    return placed
  } catch (thrown) {
    // the fault of the write is the one to report; sweeps delete what is left
    await rm(temp, { force: true }).catch(() => {})
    throw thrown
  }
}

/** A new folder is a new entry in its parent, which is synced too, up to the first one that existed. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let above = dirname(folder); above.length >= dirname(first).length; above = dirname(above)) {
    await syncFolder(above)
    if (above === dirname(above)) return
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } catch (thrown) {
    // some file systems, of FUSE and of networks, sync files only
    if (!['EINVAL', 'ENOTSUP', 'ENOSYS', 'EISDIR'].includes(codeOf(thrown) ?? '')) throw thrown
  } finally {
    await handle.close()
  }
}

/** The action's value, or undefined if the file or folder does not exist. */
export async function unlessMissing<T>(action: Promise<T>): Promise<T | undefined> {
  try {
    return await action
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return undefined
    throw thrown
  }
}

/** A file system error as an `AppError`: `storage_full` when there is no room, else `unavailable`. */
export function storageError(thrown: unknown, path: string): AppError {
  const known = toAppError(thrown)
  if (known.code !== 'internal') return known
  const reason = codeOf(thrown) ?? String(thrown)
  return new AppError('unavailable', `The storage cannot be used: ${reason}.`, {
    detail: `The folder ${path} cannot be used: ${reason}.`,
    cause: thrown,
  })
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined
}
