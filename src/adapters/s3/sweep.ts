import { AppError } from '../../jobs/errors.ts'
import { hasExpired, jobIdTime, uploadIsOver } from '../../jobs/job-id.ts'
import { DamagedManifest } from '../../jobs/stored-names.ts'
import type { Bucket } from './bucket.ts'
import { jobOfKey, resultsFolder, startOfDayFolder, uploadOfKey, uploadsFolder } from './keys.ts'
import { readManifest } from './manifests.ts'
import { isProbe, probeFolder } from './probe.ts'
import { sweepRuns } from './runs.ts'

/**
 * Deletes what expired. Days and ids are listed oldest first, and the listing ends at the first that has not expired:
 * the cost grows with what expired, not with what is kept. Two sweepers at once are harmless.
 */

const atOnce = 16
/** With this many faults the storage is unavailable or denies access: the rest would fail too. */
const mostFaults = 50
const probeMs = 3_600_000

interface OldJob {
  readonly id: string
  readonly keys: string[]
  manifest: string | undefined
}

/** Returns how many jobs with a manifest it removed. After a job that cannot be deleted it continues, then rejects. */
export async function sweepExpired(bucket: Bucket, ttlSeconds: number, now: Date): Promise<number> {
  const faults: unknown[] = []
  let removed = 0
  const jobs = oldJobs(bucket, ttlSeconds, now)
  const sweeper = async () => {
    while (faults.length < mostFaults) {
      const { value: job, done } = await jobs.next()
      if (done) return
      try {
        if (await sweepJob(bucket, job, now)) removed += 1
      } catch (thrown) {
        faults.push(thrown)
      }
    }
  }
  const ends = await Promise.allSettled(Array.from({ length: atOnce }, sweeper))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  await sweepUploads(bucket, ttlSeconds, now, faults).catch((thrown: unknown) => faults.push(thrown))
  await sweepRuns(bucket, ttlSeconds, now).catch((thrown: unknown) => faults.push(thrown))
  await sweepProbes(bucket, now).catch((thrown: unknown) => faults.push(thrown))
  if (faults.length > 0) {
    throw new AppError(
      'unavailable',
      `Deleting expired results failed ${faults.length} times; ${removed} jobs were deleted.`,
      { cause: faults[0] },
    )
  }
  return removed
}

/** The jobs that have expired according to their id alone, oldest first. */
async function* oldJobs(bucket: Bucket, ttlSeconds: number, now: Date): AsyncGenerator<OldJob, void> {
  const isPast = (time: Date) => time.getTime() + ttlSeconds * 1000 <= now.getTime()
  for await (const { folders } of bucket.list(resultsFolder, { byFolder: true })) {
    for (const folder of folders) {
      const start = startOfDayFolder(folder)
      if (start === undefined) continue
      if (!isPast(start)) return
      yield* oldJobsOf(folder)
    }
  }

  async function* oldJobsOf(folder: string): AsyncGenerator<OldJob, void> {
    let job: OldJob | undefined
    for await (const { objects } of bucket.list(folder)) {
      for (const { key } of objects) {
        const found = jobOfKey(key)
        if (found === undefined) continue
        if (found.id !== job?.id) {
          if (job !== undefined) yield job
          job = undefined
          if (!isPast(jobIdTime(found.id))) return
          // An id from an idempotency key may be older than its job: it does not stop the sweep of later ones.
          if (!hasExpired(found.id, ttlSeconds, now)) continue
          job = { id: found.id, keys: [], manifest: undefined }
        }
        if (found.isManifest) job.manifest = key
        else job.keys.push(key)
      }
    }
    if (job !== undefined) yield job
  }
}

/** Returns whether it removed a job with a manifest. */
async function sweepJob(bucket: Bucket, job: OldJob, now: Date): Promise<boolean> {
  let wasFinal = false
  if (job.manifest !== undefined) {
    // With a damaged manifest the age of the id decides.
    const manifest = await readManifest(bucket, job.id).catch((thrown: unknown) => {
      if (thrown instanceof DamagedManifest) return undefined
      throw thrown
    })
    // Made when results were kept for longer: the time promised to the user still holds.
    if (manifest !== undefined && Date.parse(manifest.expires_at) > now.getTime()) return false
    wasFinal = manifest !== undefined
    // The manifest goes first: an interrupted sweep leaves only pictures that no client sees.
    await bucket.delete(job.manifest)
  }
  for (const key of job.keys) await bucket.delete(key)
  return wasFinal
}

/** Oldest first, until the first that has not expired. */
async function sweepUploads(bucket: Bucket, ttlSeconds: number, now: Date, faults: unknown[]): Promise<void> {
  for await (const { folders } of bucket.list(uploadsFolder, { byFolder: true })) {
    for (const folder of folders) {
      if (startOfDayFolder(folder) === undefined) continue
      for await (const { objects } of bucket.list(folder)) {
        for (const { key } of objects) {
          const id = uploadOfKey(key)
          if (id === undefined) continue
          if (!uploadIsOver(id, ttlSeconds, now)) return
          if (faults.length >= mostFaults) return
          await bucket.delete(key).catch((thrown: unknown) => faults.push(thrown))
        }
      }
    }
  }
}

/** What a server that was killed during startup left behind. */
async function sweepProbes(bucket: Bucket, now: Date): Promise<void> {
  for await (const { objects } of bucket.list(probeFolder)) {
    for (const { key, modified } of objects) {
      const old = modified !== undefined && modified.getTime() + probeMs < now.getTime()
      if (old && isProbe(key)) await bucket.delete(key)
    }
  }
}
