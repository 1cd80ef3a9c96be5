import { hasExpired } from '../../jobs/job-id.ts'
import type { ImageStore } from '../../jobs/ports.ts'
import type { Bucket } from './bucket.ts'
import { openRunKey, openRunsPrefix, runKey, runOfKey, runsPrefix, startOfDayFolder } from './keys.ts'

type RunMethods = 'putRunFile' | 'getRunFile' | 'deleteRunFiles' | 'markRun' | 'openRuns' | 'allRuns'

/** Documents of catalogue runs, and the marks of those that are open. */
export function s3Runs(bucket: Bucket): Pick<ImageStore, RunMethods> {
  return {
    putRunFile: async (id, name, bytes) => bucket.put(runKey(id, name), bytes, 'application/json'),
    getRunFile: async (id, name) => bucket.get(runKey(id, name)),
    async deleteRunFiles(id, names) {
      for (const name of names) await bucket.delete(runKey(id, name))
    },
    async markRun(id, isOpen) {
      // some stores take no empty object
      if (isOpen) await bucket.put(openRunKey(id), Buffer.from('{}'), 'application/json')
      else await bucket.delete(openRunKey(id))
    },
    async openRuns() {
      const ids: string[] = []
      for await (const { objects } of bucket.list(openRunsPrefix)) {
        for (const { key } of objects) ids.push(...idIn(key))
      }
      return ids
    },
    async allRuns() {
      const ids: string[] = []
      for await (const { folders: days } of bucket.list(runsPrefix, { byFolder: true })) {
        for (const day of days.filter(startOfDayFolder)) {
          for await (const { folders } of bucket.list(day, { byFolder: true }))
            ids.push(...folders.flatMap(idIn))
        }
      }
      return ids
    },
  }
}

function idIn(key: string): string[] {
  const id = runOfKey(key)
  return id === undefined ? [] : [id]
}

/** Oldest first, until the first that has not expired. */
export async function sweepRuns(bucket: Bucket, ttlSeconds: number, now: Date): Promise<void> {
  for (const prefix of [runsPrefix, openRunsPrefix]) await sweepBelow(prefix)

  async function sweepBelow(prefix: string): Promise<void> {
    for await (const { objects } of bucket.list(prefix)) {
      for (const { key } of objects) {
        const id = runOfKey(key)
        if (id === undefined) continue
        if (!hasExpired(id, ttlSeconds, now)) return
        await bucket.delete(key)
      }
    }
  }
}
