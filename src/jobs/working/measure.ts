import { secondsBetween } from '../finished.ts'
import type { Progress, Task } from '../job.ts'
import { type Metrics, sizeLabel } from '../metrics.ts'
import { stepsOf } from '../pictures.ts'

/** What a worker measures of its attempts. */

interface MeasureDeps {
  readonly metrics: Metrics
}

export function countWait(
  { metrics }: MeasureDeps,
  { created_at, priority }: Task,
  started_at: string,
): void {
  metrics.jobWait.observe({ class: priority ?? 'interactive' }, secondsBetween(created_at, started_at))
}

/** All pictures of a job were made and stored, in so many seconds. */
export function countMade({ metrics }: MeasureDeps, { request }: Task, seconds: number): void {
  const { model, count } = request
  metrics.attemptDuration.observe({ model, size: sizeLabel(request) }, seconds)
  metrics.pictureCost.set({ model }, seconds / count)
}

/**
 * Takes note of the steps of one attempt: the first of each picture begins with other work. Those of pictures that are
 * drawn at the same time are not measured: several end in one moment.
 */
export function stepMeter({ metrics }: MeasureDeps, { request }: Task, together: number) {
  const labels = { model: request.model, size: sizeLabel(request) }
  const each = stepsOf(request)
  let last: { readonly step: number; readonly at: number } | undefined
  const alive = () => metrics.workerProgress.set({}, Date.now() / 1000)
  alive()
  return {
    alive,
    onProgress({ step }: Progress, now: number): void {
      alive()
      const begins = step % each === 1 || each === 1
      if (
        last !== undefined &&
        step === last.step + 1 &&
        !begins &&
        Math.min(request.count, together) === 1
      ) {
        metrics.stepDuration.observe(labels, (now - last.at) / 1000)
      }
      last = { step, at: now }
    },
  }
}
