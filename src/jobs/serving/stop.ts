import { AppError } from '../errors.ts'
import { askToStop } from '../stopping.ts'
import { type CancelDeps, cancelJob } from './cancel.ts'
import { type JobView, viewJob } from './job-view.ts'

/**
 * Ends a running job with the pictures that are done: its worker commits it as `succeeded` with those, or as `canceled` if
 * there are none yet. The answer is the job as it stands; it ends within a second or so. A job that waits, or has one picture,
 * has none that could be kept, and is canceled. A final job stays unchanged.
 *
 * Rejects like `viewJob`, and `unavailable` if the status store does not answer: nobody could tell the worker.
 */
export async function stopJob(deps: CancelDeps, id: string, owner?: string): Promise<JobView> {
  const view = await viewJob(deps, id, owner)
  const several = view.request === undefined || view.request.count > 1
  if (view.status !== 'running' || !several) return cancelJob(deps, id, owner)
  const seconds = Math.max(60, Math.ceil((Date.parse(view.expires_at) - deps.now().getTime()) / 1000))
  try {
    await askToStop(deps.status, id, seconds)
  } catch (cause) {
    throw new AppError('unavailable', 'The job cannot be stopped at the moment: it goes on.', { cause })
  }
  deps.log.info({ job: id }, 'job asked to stop with the pictures that are done')
  return view
}
