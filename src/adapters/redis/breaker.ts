/**
 * Circuit breaker: keeps callers from waiting for a server that does not answer. After a command timed out, nothing
 * passes for a second, then one command does, and its result decides. So a black-holed Redis costs one timeout per
 * second, however many callers there are.
 */
export interface Breaker {
  /** Whether a command may be sent now. If so, exactly one of the calls below must follow. */
  pass(): boolean
  /** It was answered in time, with a result or an error. */
  answered(): void
  timedOut(): void
  /** The connection was lost or is new: nothing is known about the server. */
  reset(): void
}

/** `now` is a monotonic clock in milliseconds. */
export function createBreaker(restMs = 1000, now = () => performance.now()): Breaker {
  let closedUntil: number | undefined
  let probing = false
  const reset = () => {
    closedUntil = undefined
    probing = false
  }
  return {
    pass() {
      if (closedUntil === undefined) return true
      if (probing || now() < closedUntil) return false
      probing = true
      return true
    },
    answered: reset,
    timedOut() {
      closedUntil = now() + restMs
      probing = false
    },
    reset,
  }
}
