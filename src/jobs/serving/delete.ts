import { AppError } from '../errors.ts'
import type { JobState, Manifest } from '../job.ts'
import { bestEffort } from '../log.ts'
import { type CancelDeps, canceledManifest, cancelJob } from './cancel.ts'
import { type JobView, viewOfManifest } from './job-view.ts'

/**
 * Cancels a job that waits or runs, and deletes one that is final: its pictures, its prompts and what the status store
 * has. Only a tombstone remains, without which the id would seem to wait; it is swept when the job would have expired.
 * A deleted job stays as it is. Rejects `not_found` and `expired` like `viewJob`.
 */
export async function deleteJob(deps: CancelDeps, id: string, owner?: string): Promise<JobView> {
  deps.ids.verify(id, owner)
  const manifest = (await deps.images.getManifest(id)) ?? (await canceledBefore(deps, id))
  if (manifest === undefined) return cancelJob(deps, id, owner)
  if (Date.parse(manifest.expires_at) <= deps.now().getTime()) {
    throw new AppError('expired', `The results of job ${id} have expired.`, { param: 'id' })
  }
  const tombstone = tombstoneOf(manifest, deps.now())
  if (manifest.deleted_at === undefined) {
    await deps.images.purge(tombstone, manifest)
    deps.log.info({ job: id }, 'job deleted on request')
  }
  await deps.status.forget(id)
  const { request: _request, ...view } = viewOfManifest(deps, tombstone)
  return view
}

/** A job that was canceled before a worker had it has no manifest. */
async function canceledBefore(deps: CancelDeps, id: string): Promise<Manifest | undefined> {
  const state: JobState | undefined = await bestEffort(
    deps.log,
    'reading a status',
    deps.status.get(id),
    'debug',
  )
  return state?.status === 'canceled' ? canceledManifest(deps, state) : undefined
}

/** An earlier version takes it for the manifest of a job without pictures. */
function tombstoneOf({ error, ...manifest }: Manifest, now: Date): Manifest {
  const {
    init_image: _init,
    mask: _mask,
    strength: _strength,
    loras: _loras,
    finish: _finish,
    ...request
  } = manifest.request
  return {
    ...manifest,
    ...(error === undefined ? {} : { error: { code: error.code, message: 'The job was deleted.' } }),
    request: { ...request, prompt: '', negative_prompt: '' },
    images: [],
    deleted_at: manifest.deleted_at ?? now.toISOString(),
  }
}
