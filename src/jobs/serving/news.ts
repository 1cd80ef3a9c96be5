import type { JobEvent } from '../job.ts'
import type { JobIds } from '../job-id.ts'
import type { Log } from '../log.ts'
import type { ImageStore, StatusStore } from '../ports.ts'
import { DamagedManifest } from '../stored-names.ts'

export interface NewsDeps {
  readonly ids: JobIds
  readonly images: ImageStore
  readonly status: StatusStore
  readonly now: () => Date
  readonly log: Log
}

/**
 * What a server does with an event: it looks at the job, and writes to the status store what it finds, if a worker could
 * not. The event itself decides nothing: events may come from anyone who reaches the broker. Rejects when a store does
 * not answer: the event is then redelivered.
 */
export async function handleEvent(
  { ids, images, status, now, log }: NewsDeps,
  { id, status: told, caller }: JobEvent,
): Promise<void> {
  if (!isIssued(ids, id, caller)) return log.warn({}, 'an event of a job that was never accepted was dropped')
  const manifest = await images.getManifest(id).catch((thrown: unknown) => {
    if (thrown instanceof DamagedManifest) return undefined
    throw thrown
  })
  if (manifest !== undefined) {
    if (manifest.deleted_at !== undefined) return
    const { status: final, error } = manifest
    return status.advance(id, { status: final, ...(error === undefined ? {} : { error }) })
  }
  const state = await status.get(id)
  if (state !== undefined && Date.parse(state.expires_at) <= now().getTime()) {
    return status.advance(id, { status: 'expired' })
  }
  if (told !== 'expired') log.warn({ job: id, told }, 'an event of a job that is not final was dropped')
}

function isIssued(ids: JobIds, id: string, owner: string | undefined): boolean {
  try {
    ids.verify(id, owner)
    return true
  } catch {
    return false
  }
}
