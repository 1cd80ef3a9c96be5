import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { lastingStampOf } from '../file-stamp.ts'
import { openSafetensors, type SafetensorsFile, type StoredTensor } from './safetensors.ts'

export interface CopyKind {
  /** Created if it is missing. */
  readonly folder: string
  /** Ends the name of the file, before `.safetensors`: `float32`. */
  readonly suffix: string
  /** What the copy depends on besides the part. */
  readonly settings?: readonly unknown[]
}

/**
 * A copy of a part in another form, in a file that is written if it does not exist. A damaged or unfinished one is written
 * again, and a part that changed has another.
 * @param tensors of the part that the copy is made from
 * @param write to a path that nobody else writes to; the same part gives the same bytes
 * @throws CheckpointError; what `write` throws; file system errors, for instance a full disk
 */
export async function keptCopy(
  part: SafetensorsFile,
  tensors: readonly (readonly [string, StoredTensor])[],
  { folder, suffix, settings = [] }: CopyKind,
  write: (path: string) => Promise<void>,
): Promise<SafetensorsFile> {
  const stamp = lastingStampOf(await stat(part.path, { bigint: true }))
  const keys = tensors.map(([key, { offset }]) => `${key} ${offset}`).join()
  const identity = createHash('sha256')
    .update(JSON.stringify([...settings, part.path, stamp, keys]))
    .digest('hex')
  const name = `${basename(part.name, '.safetensors')}-${identity.slice(0, 16)}.${suffix}.safetensors`
  const target = join(folder, name)
  const present = await openSafetensors(target).catch(() => undefined)
  if (present !== undefined) return present
  // they may be of a private model
  await mkdir(folder, { recursive: true, mode: 0o700 })
  // threads of one process may do this at the same time
  const unfinished = `${target}.${randomUUID()}.partial`
  try {
    await write(unfinished)
    await link(unfinished, target).catch(async () => {
      // one that somebody else finished meanwhile may be in use already, and has the same bytes; a damaged one is replaced
      const other = await openSafetensors(target).catch(() => undefined)
      if (other === undefined) await rename(unfinished, target)
    })
  } finally {
    await rm(unfinished, { force: true })
  }
  return openSafetensors(target)
}
