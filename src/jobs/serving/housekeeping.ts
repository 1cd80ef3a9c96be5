import { bestEffort } from '../log.ts'
import type { Consumer, TaskQueue } from '../ports.ts'
import { type BuryDeps, buryTask } from './bury.ts'
import { handleEvent, type NewsDeps } from './news.ts'
import type { JobWatch } from './wait.ts'
import { type SendDeps, startSender } from './webhooks/send.ts'

export interface HousekeepingDeps extends BuryDeps, NewsDeps {
  readonly queue: TaskQueue
  readonly ttlSeconds: number
  readonly watch: JobWatch
  /** Undefined: webhooks are switched off, and those on their way wait. */
  readonly sender: SendDeps | undefined
}

const longestPauseMs = 600_000

/**
 * A server's background work: it deletes what expired (one server of many at a time), handles the workers'
 * events, which repair a status that the worker could not write, ends the jobs that the queue gave up on, and sends
 * webhooks.
 */
export async function startHousekeeping(deps: HousekeepingDeps): Promise<{ stop(): Promise<void> }> {
  const { images, status, events, queue, ttlSeconds, watch, sender, log } = deps
  const pauseMs = Math.min(longestPauseMs, Math.max(1000, (ttlSeconds * 1000) / 4))
  const sweep = async () => {
    const turn = await bestEffort(log, 'taking a turn at deleting', status.turn('sweep', pauseMs / 2))
    if (turn === false) return
    const now = new Date()
    const removed = await bestEffort(log, 'deleting expired results', images.sweep(now))
    await bestEffort(log, 'deleting expired statuses', status.sweep(now))
    if (removed !== undefined && removed > 0) log.info({ removed }, 'expired jobs deleted')
  }
  const consumers: Consumer[] = [
    await events.consume(async (event) => {
      try {
        await handleEvent(deps, event)
      } finally {
        // without the status store, the manifest has it
        watch.changed(event.id)
      }
    }),
    await queue.consumeDead((task) => buryTask(deps, task)),
    ...(sender === undefined ? [] : [await startSender(sender)]),
  ]
  let sweeping = sweep()
  const timer = setInterval(() => {
    sweeping = sweep()
  }, pauseMs)
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all([sweeping, ...consumers.map((consumer) => consumer.stop())])
    },
  }
}
