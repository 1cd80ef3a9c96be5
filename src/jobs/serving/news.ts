import { endOf, type JobEvent, type JobState } from '../job.ts'
import { expiryOf, hasExpired, type JobIds } from '../job-id.ts'
import { type Log, seldom } from '../log.ts'
import type { ImageStore, StatusStore } from '../ports.ts'
import { DamagedManifest } from '../stored-names.ts'
import { type JobView, viewOfExpired, viewOfManifest } from './job-view.ts'
import type { Webhooks } from './webhooks/webhooks.ts'

export interface NewsDeps {
  readonly ids: JobIds
  readonly images: ImageStore
  readonly status: StatusStore
  readonly webhooks: Pick<Webhooks, 'jobEnded'>
  readonly ttlSeconds: number
  readonly now: () => Date
  readonly log: Log
}

/**
 * What a server does with an event: it looks at the job, and writes to the status store what it finds, if a worker could
 * not. The event itself decides nothing: events may come from anyone who reaches the broker. Then the job's webhook is
 * put on its queue: the status says final by now, and the event comes again until the webhook is durable. Rejects when a
 * store or queue does not answer: the event is then redelivered.
 */
export async function handleEvent(deps: NewsDeps, event: JobEvent): Promise<void> {
  const { ids, images, status, webhooks, log } = deps
  const { id, status: told, caller } = event
  if (!isIssued(ids, id, caller)) {
    return seldom(log).warn(
      {},
      'an event of a job that this installation never accepted was dropped: forged, or another installation with the same PACKSHOT_NAMESPACE',
    )
  }
  const manifest = await images.getManifest(id).catch((thrown: unknown) => {
    if (thrown instanceof DamagedManifest) return undefined
    throw thrown
  })
  if (manifest !== undefined) {
    const view = viewOfManifest(deps, manifest)
    if (manifest.deleted_at !== undefined) return webhooks.jobEnded(withoutRequest(view), manifest)
    await status.advance(id, endOf(manifest))
    return webhooks.jobEnded(view, manifest)
  }
  const state = await status.get(id)
  if (isOver(deps, event, state)) {
    if (state !== undefined) await status.advance(id, { status: 'expired' })
    const created_at = ids.issuedAt(id).toISOString()
    const known = state ?? { id, created_at, expires_at: expiryOf(created_at, deps.ttlSeconds) }
    return webhooks.jobEnded(viewOfExpired(known), state ?? event)
  }
  if (told !== 'expired') log.warn({ job: id, told }, 'an event of a job that is not final was dropped')
}

/** With the status lost, the id tells when the job was accepted. */
function isOver(
  { ttlSeconds, now }: NewsDeps,
  { id, status }: JobEvent,
  state: JobState | undefined,
): boolean {
  if (state !== undefined) return Date.parse(state.expires_at) <= now().getTime()
  return status === 'expired' && hasExpired(id, ttlSeconds, now())
}

function withoutRequest({ request: _request, ...view }: JobView): JobView {
  return view
}

function isIssued(ids: JobIds, id: string, owner: string | undefined): boolean {
  try {
    ids.verify(id, owner)
    return true
  } catch {
    return false
  }
}
