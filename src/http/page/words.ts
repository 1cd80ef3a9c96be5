import type { JobView } from '../../jobs/serving/job-view.ts'
import { failureSentence } from './failure.ts'

/** A duration as people say it; wall.js counts down in the same words. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}

/** The status of a job in one short line. */
export function headline(view: JobView): string {
  switch (view.status) {
    case 'queued':
      return view.position === undefined ? 'Waiting' : place(view.position)
    case 'running':
      return 'Taking the picture'
    case 'succeeded':
      return 'Done'
    case 'failed':
      return 'This did not work'
    case 'canceled':
      return 'Canceled'
  }
}

function place(ahead: number): string {
  if (ahead === 0) return 'Waiting: yours is next'
  return `Waiting: ${ahead} ${ahead === 1 ? 'job' : 'jobs'} before yours`
}

/** What a screen reader announces when a job reaches this status. */
export function announcement(view: JobView): string {
  const subject = view.request === undefined ? 'the picture' : shorten(view.request.prompt, 60)
  switch (view.status) {
    case 'queued':
      return [`${headline(view)}: ${subject}`, ...(view.notes ?? [])].join('. ')
    case 'running':
      return `Started: ${subject}`
    case 'succeeded':
      return `Done: ${subject}`
    case 'failed':
      return `Failed: ${subject}. ${failureSentence(view)}`
    case 'canceled':
      return `Canceled: ${subject}`
  }
}

/** At most `length` characters, never cut within one. */
function shorten(text: string, length: number): string {
  const characters = [...text]
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join('')}…`
}

/** Seconds between start and end of the work; undefined if either is not known. */
export function secondsTaken({ started_at, finished_at }: JobView): number | undefined {
  if (started_at === undefined || finished_at === undefined) return undefined
  return Math.max(0, (Date.parse(finished_at) - Date.parse(started_at)) / 1000)
}
