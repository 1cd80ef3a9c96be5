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

interface Mark {
  readonly step: number
  readonly at: number
}

/**
 * Takes note of the steps of one attempt: the first of each picture begins with other work. Of pictures that are drawn at
 * the same time several steps end in one moment: each counts as long as their mean so far.
 */
export function stepMeter({ metrics }: MeasureDeps, { request }: Task, together: number) {
  const labels = { model: request.model, size: sizeLabel(request) }
  const each = stepsOf(request)
  const beside = Math.min(request.count, together)
  let first: Mark | undefined
  let last: Mark | undefined
  const alive = () => metrics.workerProgress.set({}, Date.now() / 1000)
  alive()
  return {
    alive,
    onProgress({ step }: Progress, now: number): void {
      alive()
      const begins = step % each === 1 || each === 1
      first ??= { step, at: now }
      const done = step - first.step
      if (beside > 1) {
        if (done >= beside) metrics.stepDuration.observe(labels, (now - first.at) / 1000 / done)
      } else if (last !== undefined && step === last.step + 1 && !begins) {
        metrics.stepDuration.observe(labels, (now - last.at) / 1000)
      }
      last = { step, at: now }
    },
  }
}
