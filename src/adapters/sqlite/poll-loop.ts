import { setTimeout as sleep } from 'node:timers/promises'
import { bestEffort, type Log } from '../../jobs/log.ts'
import type { Consumer } from '../../jobs/ports.ts'

/**
 * SQLite tells nobody of new rows, so consumers look. `take` works on one row and answers whether there was one;
 * after a row it is asked again at once, after none (or a fault) when the pause is over.
 */
export function startPolling(log: Log, pauseMs: number, take: () => Promise<boolean>): Consumer {
  const stopping = new AbortController()
  const loop = async () => {
    while (!stopping.signal.aborted) {
      const worked = await bestEffort(log, 'taking from the queue', take())
      if (worked === true) continue
      await sleep(worked === undefined ? pauseMs * 10 : pauseMs, undefined, {
        signal: stopping.signal,
      }).catch(() => {})
    }
  }
  const ended = loop()
  return {
    stop() {
      stopping.abort()
      return ended
    },
  }
}
