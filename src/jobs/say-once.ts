import type { Log } from './log.ts'

/** Takes note of what became of a try to send something that no job depends on. */
export interface Sending {
  failed(reason: string): void
  succeeded(): void
}

const againMs = 600_000

/**
 * Logs that sending fails when it begins to, and that it works again; however it changes, at most one such pair in ten
 * minutes.
 * @param what the subject of both sentences: `traces`
 */
export function logSending(log: Log, what: string): Sending {
  let failing = false
  let said = false
  let saidAt = Number.NEGATIVE_INFINITY
  return {
    failed(reason) {
      if (failing) return
      failing = true
      if (performance.now() - saidAt < againMs) return
      said = true
      saidAt = performance.now()
      log.warn({ reason }, `${what} cannot be sent; the service continues without them`)
    },
    succeeded() {
      failing = false
      if (!said) return
      said = false
      log.info({}, `${what} are sent again`)
    },
  }
}
