import { bestEffort } from '../log.ts'
import { keptPreview, type Preview } from '../previews.ts'
import { type AnswerDeps, viewJob } from './job-view.ts'

/** The newest preview of a job that runs; undefined if there is none, or none any more. Rejects like `viewJob`. */
export async function newestPreview(
  deps: AnswerDeps,
  id: string,
  owner?: string,
): Promise<Preview | undefined> {
  const view = await viewJob(deps, id, owner)
  if (view.preview === undefined) return undefined
  return bestEffort(deps.log, 'reading a preview', keptPreview(deps.status, id), 'debug')
}
