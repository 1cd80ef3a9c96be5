/**
 * How many deliveries run at once for one receiver and for one caller, and which receivers asked for a pause. A server
 * keeps it for itself, in memory. A receiver is a host as one caller names it: what others do to a host that many use
 * is not this caller's.
 */
export interface Shares {
  /** Takes a place and returns how to give it back; undefined if there is none now. */
  enter(caller: string, host: string): (() => void) | undefined
  /** Nothing is sent to this receiver for so long. */
  pause(caller: string, host: string, ms: number): void
}

export interface ShareLimits {
  readonly perReceiver: number
  readonly perCaller: number
}

/** Pauses that are remembered; the oldest is forgotten first. */
const mostPauses = 10_000

export function createShares({ perReceiver, perCaller }: ShareLimits): Shares {
  const counts = new Map<string, number>()
  const pauses = new Map<string, number>()
  const add = (name: string, by: number) => {
    const count = (counts.get(name) ?? 0) + by
    if (count === 0) counts.delete(name)
    else counts.set(name, count)
  }
  const receiverOf = (caller: string, host: string) => `${caller} ${host}`
  return {
    enter(caller, host) {
      const receiver = receiverOf(caller, host)
      const until = pauses.get(receiver)
      if (until !== undefined && until > performance.now()) return undefined
      pauses.delete(receiver)
      const fits = (counts.get(receiver) ?? 0) < perReceiver && (counts.get(caller) ?? 0) < perCaller
      if (!fits) return undefined
      const names = [receiver, caller]
      for (const name of names) add(name, 1)
      return () => {
        for (const name of names) add(name, -1)
      }
    },
    pause(caller, host, ms) {
      const receiver = receiverOf(caller, host)
      pauses.delete(receiver)
      pauses.set(receiver, performance.now() + ms)
      if (pauses.size <= mostPauses) return
      const [oldest] = pauses.keys()
      if (oldest !== undefined) pauses.delete(oldest)
    },
  }
}
