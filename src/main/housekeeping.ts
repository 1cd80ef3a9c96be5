import { bestEffort, type Log } from '../jobs/log.ts'
import type { EventQueue, ImageStore, StatusStore } from '../jobs/ports.ts'

export interface HousekeepingDeps {
  readonly images: ImageStore
  readonly status: StatusStore
  readonly events: EventQueue
  readonly ttlSeconds: number
  readonly log: Log
}

const longestPauseMs = 600_000

/**
 * What a server does beside answering: it deletes what expired, and takes the workers' events, which repair a status
 * that the worker could not write.
 */
export function startHousekeeping(deps: HousekeepingDeps): { stop(): void } {
  const { images, status, events, ttlSeconds, log } = deps
  const sweep = async () => {
    const now = new Date()
    const removed = await bestEffort(log, 'deleting expired results', images.sweep(now))
    await bestEffort(log, 'deleting expired statuses', status.sweep?.(now) ?? Promise.resolve())
    if (removed !== undefined && removed > 0) log.info({ removed }, 'expired jobs deleted')
  }
  void sweep()
  const timer = setInterval(sweep, Math.min(longestPauseMs, Math.max(1000, (ttlSeconds * 1000) / 4)))
  const consuming = events.consume(({ id, status: final, error }) =>
    status.advance(id, { status: final, ...(error === undefined ? {} : { error }) }),
  )
  void bestEffort(log, 'consuming events', consuming)
  return {
    stop() {
      clearInterval(timer)
    },
  }
}
