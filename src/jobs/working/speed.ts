import type { Task } from '../job.ts'
import { drawnUnits } from '../work.ts'
import type { Made } from './attempt.ts'

/** Recent speed of a worker, while it computes. */
export interface Speed {
  /** Seconds per unit of work (see `work.ts`); undefined before the first job that shows it. */
  secondsPerUnit: number | undefined
  /** The models of jobs of one step, while nothing better is known than what those took. */
  oneStep?: Set<string>
}

/** How much slower than before a job of one step may make a worker seem: it may have loaded a model. */
const most = 2

/**
 * Learns from a job. What comes before the first step (loading a model) is not part of the speed: by that, a small job
 * would make all others seem slow. Old and new have equal weight.
 *
 * A job of one step shows no time between two: its whole time counts, unless it is the first of its model, which may
 * have loaded it, and until a job of more steps is seen. Such a speed is too slow rather than too fast.
 */
export function learnSpeed(speed: Speed, task: Task, made: Omit<Made, 'pictures'>): void {
  const { secondsPerStep, steps, seconds } = made
  const { upscaler, hires } = task.request
  // part of its work is not in its steps
  if (upscaler !== undefined || hires?.upscaler !== undefined) return
  const units = drawnUnits(task, steps)
  // nothing was drawn: a finish alone says nothing of the model
  if (units === 0) return
  const old = speed.secondsPerUnit
  if (secondsPerStep !== undefined) {
    const measured = (secondsPerStep * steps) / units
    const known = speed.oneStep === undefined ? old : undefined
    speed.secondsPerUnit = known === undefined ? measured : (known + measured) / 2
    delete speed.oneStep
  } else if (old === undefined || speed.oneStep !== undefined) {
    speed.oneStep ??= new Set()
    const isFirst = !speed.oneStep.has(task.request.model)
    speed.oneStep.add(task.request.model)
    if (isFirst) return
    const measured = seconds / units
    speed.secondsPerUnit = old === undefined ? measured : (old + Math.min(measured, most * old)) / 2
  }
}
