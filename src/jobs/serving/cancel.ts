import { announce } from '../announce.ts'
import type { JobState, Manifest } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { EventQueue, TaskQueue } from '../ports.ts'
import { type AnswerDeps, findManifest, type JobView, viewJob, viewOfManifest } from './job-view.ts'

export interface CancelDeps extends AnswerDeps {
  readonly queue: TaskQueue
  readonly events: EventQueue
}

/**
 * Cancels a job, queued or running, by committing a canceled manifest: the first manifest wins, so a job that
 * finishes at the same moment is either finished or canceled, and stays so. The mark in the status store only
 * saves work: the worker that has the job stops at its next step.
 *
 * A job whose request is unknown here (status store wiped) gets only the mark, and the worker commits.
 * A final job stays unchanged. Rejects `not_found` and `expired` like `viewJob`.
 */
export async function cancelJob(deps: CancelDeps, id: string): Promise<JobView> {
  deps.ids.verify(id)
  const existing = await findManifest(deps, id)
  if (existing !== undefined) return viewOfManifest(existing)
  const state = await deps.status.get(id)
  if (state === undefined) {
    const view = await viewJob(deps, id)
    await deps.status.requestCancel(id)
    return view
  }
  if (state.status !== 'queued' && state.status !== 'running') return viewJob(deps, id)
  await bestEffort(deps.log, 'marking a job as canceled', deps.status.requestCancel(id))
  const manifest = await deps.images.commit(canceledManifest(deps, state))
  await bestEffort(deps.log, 'announcing a canceled job', announce(deps, manifest))
  await bestEffort(deps.log, 'withdrawing a canceled job', deps.queue.withdraw(id))
  deps.log.info({ job: id, status: manifest.status }, 'job canceled on request')
  return viewOfManifest(manifest)
}

function canceledManifest(deps: CancelDeps, state: JobState): Manifest {
  return {
    v: 1,
    id: state.id,
    status: 'canceled',
    request: state.request,
    images: [],
    attempts: 0,
    ...(state.sent === undefined ? {} : { sent: state.sent }),
    created_at: state.created_at,
    ...(state.started_at === undefined ? {} : { started_at: state.started_at }),
    finished_at: deps.now().toISOString(),
    expires_at: state.expires_at,
  }
}
