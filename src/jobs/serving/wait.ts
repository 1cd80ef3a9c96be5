import type { JobState } from '../job.ts'
import { bestEffort } from '../log.ts'
import { type AnswerDeps, isFinal, type JobView, viewJob } from './job-view.ts'

/**
 * Waiting for jobs on the server's side: one loop for all waits in this process, however many wait for a job. It
 * polls the status store, less often the longer a job has been waited for, and reads storage only for a job
 * that the status store calls final, does not know, or may have missed the end of. A server that handles a job's event
 * does not wait for the poll. Nothing is kept beyond the waits themselves, so any server can wait for any job.
 */
export interface JobWatch {
  /**
   * The job once it is final, or as it stands after `ms`, when `signal` aborts or the watch is closed, or at once if too
   * many wait already. Rejects like `viewJob`.
   */
  untilFinal(id: string, options: WaitOptions): Promise<JobView>
  /** Call it when a job changed: its waits check it at once. */
  changed(id: string): void
  /** Ends all waits; later ones end at once. */
  close(): void
}

interface WaitOptions {
  readonly ms: number
  readonly signal?: AbortSignal
  /** The caller's name. */
  readonly owner?: string
}

export interface WatchOptions {
  /** Maximum number of concurrent waits; 10 000 if absent. */
  readonly mostWaits?: number
  /** Milliseconds between two checks of the jobs that are due; 100 if absent. */
  readonly tickMs?: number
}

interface Watched {
  readonly since: number
  readonly wake: Set<() => void>
  nextAt: number
  /** When storage may be read again for a job whose status cannot be trusted. */
  lookAt: number
}

const firstPauseMs = 200
const longestPauseMs = 3000
/** Minimum pause between two reads of storage for a job of unknown state. */
const lookPauseMs = 5000

export function watchJobs(
  deps: AnswerDeps,
  { mostWaits = 10_000, tickMs = 100 }: WatchOptions = {},
): JobWatch {
  const jobs = new Map<string, Watched>()
  const closing = new AbortController()
  let waits = 0
  let timer: NodeJS.Timeout | undefined
  let looking = false

  /** Wakes the waits for the job when it may be final; they check with `viewJob` whether it is. */
  async function look(id: string, job: Watched): Promise<void> {
    const now = performance.now()
    job.nextAt = now + Math.min(longestPauseMs, Math.max(firstPauseMs, (now - job.since) / 10))
    const state = await bestEffort(deps.log, 'reading a status', deps.status.get(id), 'debug')
    const certain = state !== undefined && !deps.status.doubtful()
    if (certain && isUnfinished(state)) return
    if (!certain && performance.now() < job.lookAt) return
    job.lookAt = performance.now() + lookPauseMs
    for (const wake of job.wake) wake()
  }

  async function tick(): Promise<void> {
    if (looking) return
    looking = true
    const now = performance.now()
    const due = [...jobs].filter(([, job]) => job.nextAt <= now)
    await Promise.all(due.map(([id, job]) => look(id, job)))
    looking = false
  }

  function watch(id: string, wake: () => void): () => void {
    const now = performance.now()
    const job = jobs.get(id) ?? {
      since: now,
      wake: new Set(),
      nextAt: now + firstPauseMs,
      lookAt: now + lookPauseMs,
    }
    jobs.set(id, job)
    job.wake.add(wake)
    timer ??= setInterval(() => void tick(), tickMs)
    return () => {
      job.wake.delete(wake)
      if (job.wake.size === 0) jobs.delete(id)
      if (jobs.size > 0) return
      clearInterval(timer)
      timer = undefined
    }
  }

  return {
    async untilFinal(id, { ms, signal, owner }) {
      let view = await viewJob(deps, id, owner)
      if (waits >= mostWaits || ms <= 0) return view
      const over = AbortSignal.any([closing.signal, AbortSignal.timeout(ms), ...(signal ? [signal] : [])])
      let news = Promise.withResolvers<void>()
      const wake = () => news.resolve()
      over.addEventListener('abort', wake)
      const leave = watch(id, wake)
      waits += 1
      try {
        while (!isFinal(view) && !over.aborted) {
          await news.promise
          news = Promise.withResolvers<void>()
          view = await viewJob(deps, id, owner)
        }
        return view
      } finally {
        waits -= 1
        leave()
        over.removeEventListener('abort', wake)
      }
    },
    changed(id) {
      for (const wake of jobs.get(id)?.wake ?? []) wake()
    },
    close() {
      closing.abort()
    },
  }
}

function isUnfinished({ status }: JobState): boolean {
  return status === 'queued' || status === 'running'
}
