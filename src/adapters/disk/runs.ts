import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasExpired, isJobIdShaped } from '../../jobs/job-id.ts'
import { dayOf, openRunsFolder, runFileName, runsFolder } from '../../jobs/stored-names.ts'
import { unlessMissing, writeWhole } from './files.ts'
import { namesIn, removeIfEmpty, sweepTemporaries } from './folders.ts'

/** Documents of catalogue runs, `<folder>/catalogues/<yyyy-mm-dd>/<id>/<name>`, and marks, `<folder>/catalogues-open/<id>`. */
export function diskRuns(folder: string, ttlSeconds: number) {
  const [runs, open] = [join(folder, runsFolder), join(folder, openRunsFolder)]
  const folderOf = (id: string) => join(runs, dayOf(id), id)
  const markOf = (id: string) => join(open, dayOf(id) && id)
  const days = async () => (await namesIn(runs)).filter((name) => /^\d{4}-\d\d-\d\d$/.test(name)).sort()
  return {
    put: (id: string, name: string, bytes: Uint8Array) =>
      writeWhole(join(folderOf(id), runFileName(name)), bytes),
    get: (id: string, name: string) => unlessMissing(readFile(join(folderOf(id), runFileName(name)))),
    async delete(id: string, names: readonly string[]) {
      for (const name of names) await rm(join(folderOf(id), runFileName(name)), { force: true })
    },
    async mark(id: string, isOpen: boolean) {
      if (isOpen) await writeWhole(markOf(id), new Uint8Array())
      else await rm(markOf(id), { force: true })
    },
    open: async () => (await namesIn(open)).filter(isJobIdShaped),
    async all() {
      const ids: string[] = []
      for (const day of await days())
        ids.push(...(await namesIn(join(runs, day))).filter(isJobIdShaped).sort())
      return ids
    },
    async sweep(now: Date, temporaryMs: number) {
      const before = now.getTime() - temporaryMs
      for (const day of await days()) {
        for (const id of await namesIn(join(runs, day))) {
          if (!isJobIdShaped(id)) continue
          const path = join(runs, day, id)
          if (hasExpired(id, ttlSeconds, now)) await rm(path, { recursive: true, force: true })
          else await sweepTemporaries(path, before)
        }
        await removeIfEmpty(join(runs, day))
      }
      for (const id of (await namesIn(open)).filter(isJobIdShaped)) {
        if (hasExpired(id, ttlSeconds, now)) await rm(join(open, id), { force: true })
      }
      await sweepTemporaries(open, before)
    },
  }
}
