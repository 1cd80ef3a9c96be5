import { type AnnounceDeps, announce } from '../announce.ts'
import { countCommitted } from '../finished.ts'
import { keptOf, type Manifest } from '../job.ts'
import type { Metrics } from '../metrics.ts'
import type { DeadTask, ImageStore } from '../ports.ts'
import { isTask } from '../task-check.ts'

export interface BuryDeps extends AnnounceDeps {
  readonly images: ImageStore
  readonly metrics: Metrics
  readonly now: () => Date
}

/**
 * Ends a job whose task the queue gave up on: no worker will run it, and its client must learn that.
 * A message that is not a task is only logged. Rejects when the end could not be committed or announced.
 */
export async function buryTask(deps: BuryDeps, { message, reason }: DeadTask): Promise<void> {
  const task = message
  if (!isTask(task)) {
    deps.log.error({ reason }, 'a message that is not a task was parked')
    return
  }
  const { id, request, created_at, expires_at } = task
  const manifest: Manifest = {
    v: 1,
    id,
    status: 'failed',
    request,
    images: [],
    error: { code: 'generation_failed', message: 'Workers failed on this job too many times.' },
    attempts: 0,
    ...keptOf(task),
    created_at,
    finished_at: deps.now().toISOString(),
    expires_at,
  }
  const standing = await deps.images.commit(manifest)
  countCommitted(deps.metrics, manifest, standing, task.priority)
  await announce(deps, standing, task.trace)
  deps.log.error({ job: id, reason, status: standing.status }, 'the queue gave up on a job; it was parked')
}
