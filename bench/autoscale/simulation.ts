import type { SimulatedJob } from './load.ts'
import { createScaler, type ScalerSettings } from './scaler.ts'

/**
 * Workers, one queue with two classes, and the scaler, second by second. Left out, because it is the same for every metric:
 * turns between callers, failing jobs, nodes that are not there when a worker is asked for (give it in `startSeconds`).
 */
export interface Settings extends ScalerSettings {
  /**
   * What the workers are scaled on: `work`, predicted seconds, at most a threshold for each job, so that there are never
   * more workers than jobs; `plain work`, without that; `messages`, their number; `waiting`, the number of those that no
   * worker has taken yet.
   */
  readonly metric: 'work' | 'plain work' | 'messages' | 'waiting'
  /** From the decision to a worker that takes a job: scheduling, pulling, loading the model. */
  readonly startSeconds: number
  /** How long a worker that has to stop may go on with its job. */
  readonly graceSeconds: number
  /** How old a value may be: it is scraped so often. */
  readonly scrapeSeconds: number
  /** From and to, in seconds: the metric cannot be read. */
  readonly outage?: readonly [number, number]
}

export interface Outcome {
  /** Seconds from acceptance to the start of the attempt that succeeded, in order of jobs. */
  readonly waits: readonly number[]
  /** How often each job was finished. */
  readonly finished: readonly number[]
  /** Attempts that were cut off, and the seconds of work lost by that. */
  readonly cutOff: number
  readonly lostSeconds: number
  /** Seconds in which a worker existed, loading and stopping with it: what is paid. */
  readonly workerSeconds: number
  readonly mostWorkers: number
  /** When the last job was done. */
  readonly end: number
}

interface Worker {
  readonly readyAt: number
  /** Index of its job, and when it began. */
  job: number | undefined
  since: number
  /** When it was asked to stop. */
  stoppedAt: number | undefined
}

/** Nothing takes longer than this many days: a setting that never finishes is reported as it is then. */
const mostSeconds = 3 * 86_400

export function simulate(jobs: readonly SimulatedJob[], settings: Settings): Outcome {
  const scaler = createScaler(settings)
  const queue = { interactive: [] as number[], batch: [] as number[] }
  const waits: number[] = jobs.map(() => Number.POSITIVE_INFINITY)
  const finished: number[] = jobs.map(() => 0)
  let workers: Worker[] = []
  let [next, done, cutOff, lostSeconds, workerSeconds, mostWorkers] = [0, 0, 0, 0, 0, 0]
  let scraped: number | undefined = 0

  const jobOf = (index: number) => jobs[index] as SimulatedJob
  const value = (second: number) => {
    const waiting = queue.interactive.length + queue.batch.length
    if (settings.metric === 'waiting') return waiting
    const busy = workers.filter(({ job }) => job !== undefined)
    const messages = waiting + busy.length
    if (settings.metric === 'messages') return messages
    let work = 0
    for (const index of queue.interactive) work += jobOf(index).predicted
    for (const index of queue.batch) work += jobOf(index).predicted
    for (const { job = 0, since } of busy) {
      const { seconds, predicted } = jobOf(job)
      // a job in work counts until it is done, however little is left of it: the trigger on packshot_queue_jobs
      work += Math.max(1e-3, predicted * (1 - (second - since) / seconds))
    }
    return settings.metric === 'plain work' ? work : Math.min(work, settings.threshold * messages)
  }
  const take = (worker: Worker, second: number) => {
    const index = queue.interactive.shift() ?? queue.batch.shift()
    if (index === undefined) return
    worker.job = index
    worker.since = second
  }

  let second = 0
  for (; second < mostSeconds && done < jobs.length; second += 1) {
    while (next < jobs.length && jobOf(next).at <= second) {
      queue[jobOf(next).priority].push(next)
      next += 1
    }
    for (const worker of workers) {
      const { job, since, stoppedAt } = worker
      if (job === undefined) continue
      if (second - since >= jobOf(job).seconds) {
        finished[job] = (finished[job] ?? 0) + 1
        waits[job] = since - jobOf(job).at
        done += 1
        worker.job = undefined
      } else if (stoppedAt !== undefined && second - stoppedAt >= settings.graceSeconds) {
        // it goes back to the front of its queue
        queue[jobOf(job).priority].unshift(job)
        cutOff += 1
        lostSeconds += second - since
        worker.job = undefined
      }
    }
    if (workers.some(({ job, stoppedAt }) => job === undefined && stoppedAt !== undefined)) {
      workers = workers.filter(({ job, stoppedAt }) => job !== undefined || stoppedAt === undefined)
    }
    for (const worker of workers) {
      if (worker.job === undefined && worker.stoppedAt === undefined && worker.readyAt <= second)
        take(worker, second)
    }
    const [from, to] = settings.outage ?? [0, 0]
    if (second >= from && second < to) scraped = undefined
    else if (second % settings.scrapeSeconds === 0) scraped = value(second)
    workers = resized(workers, scaler.tick(second, scraped), second, settings)
    workerSeconds += workers.length
    mostWorkers = Math.max(mostWorkers, workers.length)
  }
  return { waits, finished, cutOff, lostSeconds, workerSeconds, mostWorkers, end: second }
}

/**
 * A ReplicaSet chooses what it ends without a look at the work: first what is not ready, then what became ready last
 * (pkg/controller/controller_utils.go, ActivePodsWithRanks).
 */
function resized(workers: Worker[], count: number, second: number, settings: Settings): Worker[] {
  const live = workers.filter(({ stoppedAt }) => stoppedAt === undefined)
  if (live.length === count) return workers
  const added = Array.from({ length: Math.max(0, count - live.length) }, () => ({
    readyAt: second + settings.startSeconds,
    job: undefined,
    since: 0,
    stoppedAt: undefined,
  }))
  const surplus = live.toSorted((a, b) => b.readyAt - a.readyAt).slice(0, Math.max(0, live.length - count))
  for (const worker of surplus) worker.stoppedAt = second
  // without a job it ends at once
  const rest = workers.filter(({ job, stoppedAt }) => stoppedAt === undefined || job !== undefined)
  return [...rest, ...added]
}

/** The value below which a share of the values is, by nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
