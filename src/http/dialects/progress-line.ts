import { stepsOf } from '../../jobs/pictures.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'

const width = 10

/**
 * The progress of a job as tqdm writes it, which clients read a percentage from: ` 40%|####      | 8/20 [00:01<00:02,
 * 6.10it/s]`. Undefined for a job that has not begun, and for one that ended without pictures.
 */
export function progressLine(view: JobView, now = new Date()): string | undefined {
  const done = doneOf(view)
  if (done === undefined) return undefined
  const { step, steps } = done
  const share = Math.min(1, step / Math.max(1, steps))
  const percent = String(Math.floor(share * 100)).padStart(3)
  const bar = '#'.repeat(Math.floor(share * width)).padEnd(width)
  const end = view.finished_at === undefined ? now : new Date(view.finished_at)
  const seconds = Math.max(0, (end.getTime() - Date.parse(view.started_at ?? view.created_at)) / 1000)
  const rate = seconds === 0 ? undefined : step / seconds
  const left = rate === undefined || rate === 0 ? '?' : clock((steps - step) / rate)
  const speed = rate === undefined ? '?' : rate.toFixed(2)
  return `${percent}%|${bar}| ${step}/${steps} [${clock(seconds)}<${left}, ${speed}it/s]`
}

function doneOf({ status, progress, request }: JobView) {
  if (status === 'running') return progress
  if (status !== 'succeeded' || request === undefined) return undefined
  const steps = stepsOf(request) * request.count
  return { step: steps, steps }
}

function clock(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  return `${two(seconds / 60)}:${two(seconds % 60)}`
}
