import { readdir, rm, rmdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isTemporary, unlessMissing } from './files.ts'

/** What a sweep does with folders. A missing one is empty. */

export async function namesIn(folder: string): Promise<string[]> {
  return (await unlessMissing(readdir(folder))) ?? []
}

/** Deletes the temporary files that a crash left behind before this time (ms). */
export async function sweepTemporaries(folder: string, before: number): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (!isTemporary(name)) continue
    const path = join(folder, name)
    const info = await unlessMissing(stat(path))
    if (info !== undefined && info.mtimeMs < before) await rm(path, { force: true })
  }
}

/** Today's folder is in use even when empty; rmdir fails on a folder that is not empty. */
export async function removeIfEmpty(folder: string): Promise<void> {
  if (folder.endsWith(new Date().toISOString().slice(0, 10))) return
  await rmdir(folder).catch((thrown: unknown) => {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(code)) throw thrown
  })
}
