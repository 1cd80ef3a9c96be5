import { access, constants, mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { keepPrivate, probeFolder } from '../../adapters/disk/probe.ts'
import { AppError, messageOf } from '../../jobs/errors.ts'
import type { Log } from '../../jobs/log.ts'

/** Where embedded mode keeps things. */
export interface DataFolder {
  readonly path: string
  readonly database: string
  readonly lock: string
  readonly results: string
}

const param = 'PACKSHOT_DATA_DIR'
const entries = [
  'results',
  'weights',
  ...['packshot.sqlite', 'server.lock'].flatMap((name) =>
    ['', '-wal', '-shm', '-journal'].map((end) => name + end),
  ),
]

/** Creates the folder if needed. Rejects with the variable's name and the path when it cannot be written. */
export async function openDataFolder(dataDir: string): Promise<DataFolder> {
  const path = resolve(dataDir)
  const results = join(path, 'results')
  try {
    await mkdir(results, { recursive: true, mode: 0o700 })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    await access(results, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const reason = messageOf(cause)
    const message = `The data folder ${path} cannot be written (${reason}). Choose another with ${param}.`
    throw new AppError('unavailable', message, { param, cause })
  }
  return { path, results, database: join(path, 'packshot.sqlite'), lock: join(path, 'server.lock') }
}

/** Tries the folder as jobs will use it, and keeps other users out. By the one process that has locked it. */
export async function checkDataFolder({ path }: DataFolder, log: Log): Promise<void> {
  await probeFolder(path, param, log)
  await keepPrivate(path, entries, log)
}
