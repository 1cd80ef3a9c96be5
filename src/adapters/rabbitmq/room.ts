import type { Log } from '../../jobs/log.ts'
import { queueFull } from './publisher.ts'

export interface RoomOptions {
  /** Maximum number of waiting tasks. */
  readonly max: number
  /** How many wait now, as the broker counts. */
  readonly count: () => Promise<number>
  readonly log: Log
}

/** For how long a count is used. */
const freshMs = 1000
/** The same while nine tenths of the bound are used. */
const freshWhenNearMs = 100

/**
 * The bound of a class, whose tasks are in several queues. The broker is asked at most once a second, ten times while it
 * is nearly full, and what this process published since then is added: a process alone never exceeds the bound, several
 * may by what the others publish in that time. Each queue has the same bound of its own, which the broker keeps.
 *
 * Runs `publish` if there is room, else rejects `queue_full`. While the broker does not answer the publish decides.
 */
export function createRoom({
  max,
  count,
  log,
}: RoomOptions): (publish: () => Promise<void>) => Promise<void> {
  let known = 0
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined
  let inFlight = 0
  /** May be missing in the count. */
  let since = 0

  const read = async () => {
    // those in flight may be counted twice until the next time
    since = inFlight
    try {
      known = await count()
    } catch (err) {
      log.debug({ err }, 'the waiting tasks could not be counted')
      known = 0
    }
    readAt = performance.now()
  }
  const used = () => (known + since) / max

  return async (publish) => {
    if (performance.now() - readAt > (used() >= 0.9 ? freshWhenNearMs : freshMs)) {
      reading ??= read().finally(() => {
        reading = undefined
      })
      await reading
    }
    if (used() >= 1) throw queueFull(max)
    since += 1
    inFlight += 1
    try {
      await publish()
    } finally {
      inFlight -= 1
    }
  }
}
