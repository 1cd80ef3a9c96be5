import { isDeepStrictEqual } from 'node:util'
import type { Priority } from './fields.ts'
import type { Manifest, Task } from './job.ts'
import type { Metrics } from './metrics.ts'

/**
 * Counts a job that this process ended.
 * @param standing what the storage has after the commit: the manifest of another if that was first
 */
export function countCommitted(
  metrics: Metrics,
  manifest: Manifest,
  standing: Manifest,
  priority: Priority = 'interactive',
): void {
  if (standing !== manifest && !isDeepStrictEqual(standing, manifest)) return
  const { status, error, request, created_at, finished_at } = manifest
  const code = error?.code ?? 'none'
  metrics.jobsFinished.add({ class: priority, status, model: request.model, code })
  metrics.jobDuration.observe({ class: priority }, secondsBetween(created_at, finished_at))
}

/** The same for a job that expired before a worker had it. */
export function countExpired(metrics: Metrics, { request, created_at, priority }: Task, now: Date): void {
  const labels = { class: priority ?? 'interactive' }
  metrics.jobsFinished.add({ ...labels, status: 'expired', model: request.model, code: 'none' })
  metrics.jobDuration.observe(labels, secondsBetween(created_at, now.toISOString()))
}

/** Never less than 0: the clocks of two machines differ. */
export function secondsBetween(from: string, to: string): number {
  return Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000)
}
