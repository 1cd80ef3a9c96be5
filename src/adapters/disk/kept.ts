import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ImageFormat, imageFormats } from '../../jobs/fields.ts'
import type { KeptFiles } from '../../jobs/ports.ts'
import { keptEntries, keptFolder, keptName, keptOwner } from '../../jobs/stored-names.ts'
import { unlessMissing, writeWhole } from './files.ts'
import { namesIn, sweepTemporaries } from './folders.ts'

/** Pictures that are kept for good, `<folder>/kept/<owner>/<id>.png` and `<id>.json`: no sweep deletes them. */
export function diskKept(folder: string) {
  const kept = join(folder, keptFolder)
  const pathOf = (owner: string, id: string, kind: ImageFormat | 'document') =>
    join(kept, keptOwner(owner), keptName(id, kind))
  return {
    pathOf,
    async put(owner: string, id: string, { format, picture, document }: KeptFiles) {
      await writeWhole(pathOf(owner, id, format), picture)
      await writeWhole(pathOf(owner, id, 'document'), document)
    },
    get: (owner: string, id: string) => unlessMissing(readFile(pathOf(owner, id, 'document'))),
    async delete(owner: string, id: string) {
      for (const kind of ['document', ...imageFormats] as const)
        await rm(pathOf(owner, id, kind), { force: true })
    },
    async list(owner: string) {
      const path = join(kept, keptOwner(owner))
      const files: { name: string; at: Date }[] = []
      for (const name of (await namesIn(path)).sort()) {
        const info = await unlessMissing(stat(join(path, name)))
        if (info !== undefined) files.push({ name, at: info.mtime })
      }
      return keptEntries(files)
    },
    /** What a crash left of files that were being written before this time (ms). */
    async sweep(before: number) {
      for (const owner of await namesIn(kept)) await sweepTemporaries(join(kept, owner), before)
    },
  }
}
