import { setImmediate } from 'node:timers/promises'

/** How long work may keep the event loop before others get a turn, in milliseconds. */
const longestMs = 10

/** A function to call between small pieces of long work: now and then it lets the event loop go on. */
export function breather(): () => Promise<void> | undefined {
  let since = performance.now()
  return () => {
    if (performance.now() - since < longestMs) return undefined
    return setImmediate().then(() => {
      since = performance.now()
    })
  }
}
