/**
 * Keeps callers from waiting for a server that does not answer: after a command timed out, nothing passes for a
 * second, then one command does, and its fate decides. So a black-holed Redis costs a second one timeout, however
 * many callers there are.
 */
export interface Breaker {
  /** Whether a command may be sent now. One that passes is followed by exactly one of the calls below. */
  pass(): boolean
  /** It was answered in time, with a result or an error. */
  answered(): void
  timedOut(): void
  /** The connection went away or is new: nothing is known of the server. */
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
