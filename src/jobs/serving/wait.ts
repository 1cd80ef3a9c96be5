import { AppError } from '../errors.ts'
import type { JobState } from '../job.ts'
import { bestEffort } from '../log.ts'
import { detached } from '../tracing.ts'
import {
  type AnswerDeps,
  isFinal,
  isWaiting,
  type JobView,
  viewJob,
  viewVerified,
  waitingView,
} from './job-view.ts'

/**
 * Waiting for jobs on the server's side: one loop for all waits in this process, however many wait for a job or follow
 * it. It polls the status store, less often the longer a job has not changed, and reads storage only for a job
 * that the status store calls final, does not know, or may have missed the end of. A server that handles a job's event
 * does not wait for the poll. A followed job is looked at, and its view computed, once for all its followers.
 * Nothing is kept beyond the waits themselves, so any server can wait for any job.
 */
export interface JobWatch {
  /**
   * The job once it is final, or as it stands after `ms`, when `signal` aborts or the watch is closed, or at once if too
   * many wait already. Rejects like `viewJob`.
   */
  untilFinal(id: string, options: WaitOptions): Promise<JobView>
  /**
   * The job as it is, then after each change of its status, progress, preview or place in the queue, last the final one;
   * all followers get the same object. A reader that is slower than the job misses what is between. Ends early when
   * `signal` aborts or the watch is closed. The first read rejects like `viewJob`, and with `unavailable` or
   * `rate_limited` if too many follow; a later one only with `expired`, `deleted`, or `unauthorized` for a follower that
   * may no longer see it. Read it to its end, or call `return`.
   */
  follow(id: string, options: FollowOptions): AsyncGenerator<JobView, void, undefined>
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

interface FollowOptions {
  readonly signal: AbortSignal
  /** The caller's name. */
  readonly owner?: string
  /** Under which the caller's followers are counted. */
  readonly account?: string
  /** Whether the follower may still see the job; looked at about once a second. Absent: it may. */
  readonly allowed?: () => boolean
}

export interface WatchOptions {
  /** Maximum number of concurrent waits for an end; 10 000 if absent. */
  readonly mostWaits?: number
  /** Maximum number of concurrent followers; 10 000 if absent. */
  readonly mostFollowers?: number
  /** The same for one account; 500 if absent. */
  readonly mostOfAccount?: number
  /** Milliseconds between two checks of the jobs that are due; 100 if absent. */
  readonly tickMs?: number
}

interface Watched {
  readonly id: string
  readonly since: number
  readonly wake: Set<() => void>
  followers: number
  /** What all followers begin with. */
  first: Promise<JobView> | undefined
  /** The newest view; undefined without followers. */
  view: JobView | undefined
  /** Final, or gone: nothing more will be seen. */
  ended: { readonly view: JobView } | { readonly error: unknown } | undefined
  changedAt: number
  nextAt: number
  /** When storage may be read again for a job whose status cannot be trusted. */
  lookAt: number
  looking: boolean
  /** It changed during a look, which may have come too early to see it. */
  again: boolean
}

const firstPauseMs = 200
const longestPauseMs = 3000
/** Between two looks whether a follower may still see its job. */
const allowedEveryMs = 1000
/** Minimum pause between two reads of storage for a job of unknown state. */
const lookPauseMs = 5000

export function watchJobs(deps: AnswerDeps, options: WatchOptions = {}): JobWatch {
  const { mostWaits = 10_000, mostFollowers = 10_000, mostOfAccount = 500, tickMs = 100 } = options
  const jobs = new Map<string, Watched>()
  const closing = new AbortController()
  let waits = 0
  let followers = 0
  const ofAccount = new Map<string, number>()
  let timer: NodeJS.Timeout | undefined

  /** Serves the job's waits, unless a look is under way; `force`: something happened, so storage may be read. */
  async function look(job: Watched, force = false): Promise<void> {
    if (job.looking) {
      job.again ||= force
      return
    }
    job.looking = true
    let forced = force
    do {
      job.again = false
      await check(job, forced)
      forced = true
    } while (job.again && job.ended === undefined)
    job.looking = false
  }

  async function check(job: Watched, force: boolean): Promise<void> {
    const { id } = job
    const state = await bestEffort(deps.log, 'reading a status', deps.status.get(id), 'debug')
    const unsure = state === undefined || deps.status.doubtful()
    const waiting = state !== undefined && isWaiting(state, deps.now())
    if (waiting && job.followers > 0 && !isShown(job.view, state)) job.changedAt = performance.now()
    job.nextAt = performance.now() + pauseOf(job)
    if (waiting && !unsure) {
      if (job.followers === 0) return
      // how many are ahead is known only to the view
      if (state.status === 'queued' || !isShown(job.view, state)) show(job, await waitingView(deps, state))
      return
    }
    if (unsure && !force && performance.now() < job.lookAt) return
    job.lookAt = performance.now() + lookPauseMs
    try {
      const view = await viewVerified(deps, id)
      if (isFinal(view)) end(job, { view })
      else if (job.followers > 0) show(job, view)
    } catch (error) {
      if (error instanceof AppError && error.code !== 'unavailable') end(job, { error })
      else deps.log.debug({ err: error, job: id }, 'a job that is waited for cannot be read')
    }
  }

  function show(job: Watched, view: JobView): void {
    if (job.view !== undefined && isSame(job.view, view)) return
    job.view = view
    wakeAll(job)
  }

  function end(job: Watched, ended: Watched['ended']): void {
    job.ended ??= ended
    wakeAll(job)
  }

  function tick(): void {
    const now = performance.now()
    for (const job of jobs.values()) {
      if (job.nextAt <= now && job.ended === undefined && !job.looking) void look(job)
    }
  }

  function watch(id: string, wake: () => void): { job: Watched; leave: () => void } {
    const known = jobs.get(id)
    const job = known === undefined || known.ended !== undefined ? newlyWatched(id) : known
    jobs.set(id, job)
    job.wake.add(wake)
    timer ??= detached(() => setInterval(tick, tickMs))
    const leave = () => {
      job.wake.delete(wake)
      if (job.wake.size === 0 && jobs.get(id) === job) jobs.delete(id)
      if (jobs.size > 0) return
      clearInterval(timer)
      timer = undefined
    }
    return { job, leave }
  }

  function countIn(account: string): () => void {
    const count = ofAccount.get(account) ?? 0
    const fault = followers >= mostFollowers || count >= mostOfAccount
    if (fault) throw tooMany(followers >= mostFollowers ? undefined : mostOfAccount)
    followers += 1
    ofAccount.set(account, count + 1)
    return () => {
      followers -= 1
      const left = (ofAccount.get(account) ?? 1) - 1
      if (left === 0) ofAccount.delete(account)
      else ofAccount.set(account, left)
    }
  }

  return {
    async untilFinal(id, { ms, signal, owner }) {
      const view = await viewJob(deps, id, owner)
      if (isFinal(view) || waits >= mostWaits || ms <= 0) return view
      const over = AbortSignal.any([closing.signal, AbortSignal.timeout(ms), ...(signal ? [signal] : [])])
      let news = Promise.withResolvers<void>()
      const wake = () => news.resolve()
      over.addEventListener('abort', wake)
      const { job, leave } = watch(id, wake)
      waits += 1
      try {
        while (job.ended === undefined && !over.aborted) {
          await news.promise
          news = Promise.withResolvers<void>()
        }
        return job.ended === undefined ? await viewJob(deps, id, owner) : outcome(job.ended)
      } finally {
        waits -= 1
        leave()
        over.removeEventListener('abort', wake)
      }
    },
    async *follow(id, { signal, owner, account = '', allowed = () => true }) {
      deps.ids.verify(id, owner)
      const countOut = countIn(account)
      let news = Promise.withResolvers<void>()
      const wake = () => news.resolve()
      const { job, leave } = watch(id, wake)
      job.followers += 1
      signal.addEventListener('abort', wake)
      const looking = setInterval(() => allowed() || wake(), allowedEveryMs)
      try {
        job.first ??= viewVerified(deps, id)
        const view = await job.first
        if (isFinal(view)) end(job, { view })
        else job.view ??= view
        let seen: JobView | undefined
        while (!signal.aborted) {
          if (!allowed())
            throw new AppError('unauthorized', 'The key that this began with is no longer valid.')
          if (job.ended !== undefined) {
            yield outcome(job.ended)
            return
          }
          if (job.view !== undefined && job.view !== seen) {
            seen = job.view
            yield seen
          } else if (closing.signal.aborted) return
          else {
            await news.promise
            news = Promise.withResolvers<void>()
          }
        }
      } finally {
        clearInterval(looking)
        signal.removeEventListener('abort', wake)
        job.followers -= 1
        if (job.followers === 0) [job.first, job.view] = [undefined, undefined]
        leave()
        countOut()
      }
    },
    changed(id) {
      const job = jobs.get(id)
      if (job !== undefined) void look(job, true)
    },
    close() {
      closing.abort()
      for (const job of jobs.values()) wakeAll(job)
    },
  }
}

function newlyWatched(id: string): Watched {
  const now = performance.now()
  return {
    id,
    since: now,
    wake: new Set(),
    followers: 0,
    first: undefined,
    view: undefined,
    ended: undefined,
    changedAt: now,
    nextAt: now + firstPauseMs,
    lookAt: now + lookPauseMs,
    looking: false,
    again: false,
  }
}

function wakeAll(job: Watched): void {
  for (const wake of job.wake) wake()
}

function outcome(ended: NonNullable<Watched['ended']>): JobView {
  if ('error' in ended) throw ended.error
  return ended.view
}

/** A tenth of the wait so far; if it is followed, at most half of the time since its last change: about its own pace. */
function pauseOf({ since, changedAt, followers }: Watched): number {
  const now = performance.now()
  const quiet = followers > 0 ? (now - changedAt) / 2 : Number.POSITIVE_INFINITY
  return Math.min(longestPauseMs, Math.max(firstPauseMs, Math.min(quiet, (now - since) / 10)))
}

/** Whether a view shows this state, apart from the place in the queue. */
function isShown(view: JobView | undefined, { status, progress, preview }: JobState): boolean {
  if (view === undefined || view.status !== status) return false
  return view.progress?.step === progress?.step && view.preview?.index === preview
}

function isSame(a: JobView, b: JobView): boolean {
  return (
    a.status === b.status &&
    a.progress?.step === b.progress?.step &&
    a.preview?.index === b.preview?.index &&
    a.position === b.position
  )
}

function tooMany(ofCaller: number | undefined): AppError {
  const retryAfterSeconds = 5
  if (ofCaller === undefined) {
    return new AppError('unavailable', 'This server has too many open streams.', { retryAfterSeconds })
  }
  const message = `You have ${ofCaller} open streams, the maximum for one caller on one server. Close some, or poll.`
  return new AppError('rate_limited', message, { retryAfterSeconds })
}
