import { keptFor } from '../kept-for.ts'
import type { StatusStore } from '../ports.ts'

/** Workers report every two seconds. */
const freshMs = 250

/**
 * The same store, for a server that is polled: what it estimates waits by is read once for all polls of a moment. That was one of the three
 * commands that a poll of a waiting job cost.
 */
export function sharingLoad<Store extends Pick<StatusStore, 'load'>>(status: Store): Store {
  return { ...status, load: keptFor(freshMs, () => status.load()) }
}
