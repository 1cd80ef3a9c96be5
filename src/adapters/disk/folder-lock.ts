import { DatabaseSync } from 'node:sqlite'
import { AppError } from '../../jobs/errors.ts'

export interface FolderLock {
  release(): void
}

/**
 * Locks a file for this process only. The lock is the operating system's, taken through an open SQLite
 * transaction, so it ends with the process however that ends; the remaining file has no meaning.
 * Throws `unavailable` when another process has it, and a plain error when the file system cannot lock.
 */
export function lockFolder(path: string, folder: string): FolderLock {
  const connection = new DatabaseSync(path, { timeout: 0 })
  try {
    connection.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (thrown) {
    connection.close()
    const busy = thrown instanceof Error && 'errcode' in thrown && thrown.errcode === 5
    if (!busy) throw new Error(`The folder ${folder} cannot be locked: ${thrown}.`, { cause: thrown })
    const message = `The data folder ${folder} is in use by another running Packshot. Stop that one, or give this one a folder of its own with PACKSHOT_DATA_DIR.`
    throw new AppError('unavailable', message, { param: 'PACKSHOT_DATA_DIR', cause: thrown })
  }
  return {
    release() {
      connection.exec('ROLLBACK')
      connection.close()
    },
  }
}
