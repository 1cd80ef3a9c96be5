import { setTimeout as sleep } from 'node:timers/promises'
import { bestEffort, type Log } from '../../jobs/log.ts'
import type { Consumer } from '../../jobs/ports.ts'

/**
 * SQLite does not announce new rows, so consumers poll. `take` handles one row and returns whether there was one;
 * after a row it is called again at once, after none (or a fault) after the pause.
 */
export function startPolling(log: Log, pauseMs: number, take: () => Promise<boolean>): Consumer {
  const stopping = new AbortController()
  const loop = async () => {
    while (!stopping.signal.aborted) {
      const worked = await bestEffort(log, 'taking from the queue', take())
      if (worked === true) continue
      // rejects when it is to stop, which the loop looks at
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
