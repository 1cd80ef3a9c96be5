import { access, constants, mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { AppError, messageOf } from '../jobs/errors.ts'

/** Where embedded mode keeps things. */
export interface DataFolder {
  readonly path: string
  readonly database: string
  readonly lock: string
  readonly results: string
}

/** Creates the folder if needed. Rejects with the variable's name and the path when it cannot be written. */
export async function openDataFolder(dataDir: string): Promise<DataFolder> {
  const path = resolve(dataDir)
  const results = join(path, 'results')
  try {
    await mkdir(results, { recursive: true })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    await access(results, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const reason = messageOf(cause)
    const message = `The data folder ${path} cannot be written (${reason}). Choose another with PACKSHOT_DATA_DIR.`
    throw new AppError('unavailable', message, { param: 'PACKSHOT_DATA_DIR', cause })
  }
  return { path, results, database: join(path, 'packshot.sqlite'), lock: join(path, 'server.lock') }
}
