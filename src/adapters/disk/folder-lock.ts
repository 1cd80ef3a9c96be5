import { DatabaseSync } from 'node:sqlite'
import { AppError, messageOf } from '../../jobs/errors.ts'

export interface FolderLock {
  release(): void
}

/** SQLITE_BUSY */
const busy = 5

/** Throws `unavailable` when another process has the folder, and a plain error when the file system cannot lock. */
export function lockFolder(path: string, folder: string): FolderLock {
  let lock: FolderLock | undefined
  try {
    lock = lockFile(path, 0)
  } catch (cause) {
    throw new Error(`The folder ${folder} cannot be locked: ${messageOf(cause)}.`, { cause })
  }
  if (lock !== undefined) return lock
  const message = `The data folder ${folder} is in use by another running Packshot. Stop that one, or give this one a folder of its own with PACKSHOT_DATA_DIR.`
  throw new AppError('unavailable', message, { param: 'PACKSHOT_DATA_DIR' })
}

/**
 * Locks a file for this process only. The lock is the operating system's, taken through an open SQLite
 * transaction, so it ends with the process however that ends; the remaining file has no meaning.
 * Undefined when another process still has it after `waitMs`, during which this process stands still. Throws when the
 * file system cannot lock.
 */
export function lockFile(path: string, waitMs: number): FolderLock | undefined {
  let connection: DatabaseSync | undefined
  try {
    connection = new DatabaseSync(path, { timeout: waitMs })
    connection.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (cause) {
    connection?.close()
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === busy) return undefined
    throw cause
  }
  const held = connection
  return {
    release() {
      held.exec('ROLLBACK')
      held.close()
    },
  }
}
