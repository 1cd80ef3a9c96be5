/** Refused requests that a server wants to see again in a second: they cost it about a tenth of a core. */
const returnsPerSecond = 100
const shortestSeconds = 5
/** Nobody is told to wait much longer for an answer that may be the same. */
const longestSeconds = 600

/**
 * Answers the whole seconds after which a client that is refused now should ask again, at least `soonest`. Those who are
 * refused stand in a line that moves as fast as this server can refuse: the more there are, the later they come back.
 * Then the time is stretched by up to its double at random, so that they do not come in step.
 */
export type Returns = (soonest: number) => number

/** @param now in milliseconds, on any clock that does not jump */
export function createReturns(now: () => number = () => performance.now()): Returns {
  /** When the last in the line is to be back, in seconds. */
  let last = 0
  return (soonest) => {
    const at = now() / 1000
    last = Math.min(Math.max(last, at) + 1 / returnsPerSecond, at + longestSeconds)
    const seconds = Math.max(shortestSeconds, Math.min(60, soonest), last - at)
    return Math.ceil(seconds * (1 + Math.random()))
  }
}
