import { announce } from '../announce.ts'
import { countCommitted } from '../finished.ts'
import { type JobState, keptOf, type Manifest } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { EventQueue, TaskQueue } from '../ports.ts'
import {
  type AnswerDeps,
  findManifest,
  type JobView,
  viewJob,
  viewOfCanceled,
  viewOfManifest,
} from './job-view.ts'

export interface CancelDeps extends AnswerDeps {
  readonly queue: TaskQueue
  readonly events: EventQueue
  readonly metrics: Metrics
}

/**
 * Cancels a job, queued or running, by committing a canceled manifest: the first manifest wins, so a job that
 * finishes at the same moment is either finished or canceled, and stays so. A job that is taken out of the queue before a
 * worker had it needs no manifest, unless it has a webhook: its status says it. A task stays in the queue until the end
 * of its job is announced: whatever fails here, a worker then announces it. The mark in the status store only
 * saves work: the worker that has the job stops at its next step.
 *
 * A job whose request is unknown here (status store wiped) gets only the mark, and the worker commits.
 * A final job stays unchanged. Rejects `not_found` and `expired` like `viewJob`.
 */
export async function cancelJob(deps: CancelDeps, id: string, owner?: string): Promise<JobView> {
  deps.ids.verify(id, owner)
  const existing = await findManifest(deps, id)
  if (existing !== undefined) return viewOfManifest(deps, existing)
  const state = await deps.status.get(id)
  if (state === undefined) {
    const view = await viewJob(deps, id, owner)
    await deps.status.requestCancel(id)
    return view
  }
  if (state.status !== 'queued' && state.status !== 'running') return viewJob(deps, id, owner)
  await bestEffort(deps.log, 'marking a job as canceled', deps.status.requestCancel(id))
  if (state.status === 'queued' && state.webhook === undefined && (await withdrawn(deps, id))) {
    const manifest = canceledManifest(deps, state)
    countCommitted(deps.metrics, manifest, manifest, state.priority)
    deps.log.info({ job: id }, 'job canceled before a worker had it')
    return viewOfCanceled(state)
  }
  const canceled = canceledManifest(deps, state)
  const manifest = await deps.images.commit(canceled)
  countCommitted(deps.metrics, canceled, manifest, state.priority)
  const announced = announce(deps, manifest).then(() => deps.queue.withdraw(id))
  await bestEffort(deps.log, 'announcing and withdrawing a canceled job', announced)
  deps.log.info({ job: id, status: manifest.status }, 'job canceled on request')
  return viewOfManifest(deps, manifest)
}

/**
 * Whether no worker has the job or will get it: then its status is all that is kept of it. The status comes first, so
 * that it is durable when the task is gone.
 */
async function withdrawn({ status, queue, log }: CancelDeps, id: string): Promise<boolean> {
  const withdraw = async () => {
    if (!queue.withdraws) return false
    await status.advance(id, { status: 'canceled' })
    return queue.withdraw(id)
  }
  return (await bestEffort(log, 'withdrawing a canceled job', withdraw())) ?? false
}

export function canceledManifest(deps: Pick<CancelDeps, 'now'>, state: JobState): Manifest {
  return {
    v: 1,
    id: state.id,
    status: 'canceled',
    request: state.request,
    images: [],
    attempts: 0,
    ...keptOf(state),
    created_at: state.created_at,
    ...(state.started_at === undefined ? {} : { started_at: state.started_at }),
    finished_at: deps.now().toISOString(),
    expires_at: state.expires_at,
  }
}
