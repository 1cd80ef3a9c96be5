import { DatabaseSync } from 'node:sqlite'
import { AppError, messageOf } from '../../jobs/errors.ts'

export interface FolderLock {
  release(): void
}

/** SQLITE_BUSY */
const busy = 5

/**
 * Locks a file for this process only. The lock is the operating system's, taken through an open SQLite
 * transaction, so it ends with the process however that ends; the remaining file has no meaning.
 * Throws `unavailable` when another process has it, and a plain error when the file system cannot lock.
 */
export function lockFolder(path: string, folder: string): FolderLock {
  let connection: DatabaseSync | undefined
  try {
    connection = new DatabaseSync(path, { timeout: 0 })
    connection.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (cause) {
    connection?.close()
    const isBusy = cause instanceof Error && 'errcode' in cause && cause.errcode === busy
    if (!isBusy) throw new Error(`The folder ${folder} cannot be locked: ${messageOf(cause)}.`, { cause })
    const message = `The data folder ${folder} is in use by another running Packshot. Stop that one, or give this one a folder of its own with PACKSHOT_DATA_DIR.`
    throw new AppError('unavailable', message, { param: 'PACKSHOT_DATA_DIR', cause })
  }
  const held = connection
  return {
    release() {
      held.exec('ROLLBACK')
      held.close()
    },
  }
}
