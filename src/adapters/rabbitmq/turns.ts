import type { TaskSource } from './topology.ts'

/** In which order one worker looks at the queues. */
export interface Turns {
  order(): readonly TaskSource[]
  /** A task of this queue is made now. */
  served(source: TaskSource): void
}

/**
 * The groups stay in their order; within a group the lane that was served longest ago comes first. So lanes with
 * waiting tasks are served in turn, and a lane that was empty for a while is served by the next worker that is free.
 * Each worker has turns of its own: shares are equal for each, and so for all.
 */
export function createTurns(groups: readonly (readonly TaskSource[])[]): Turns {
  const servedAt = new Map<TaskSource, number>()
  let count = 0
  const at = (source: TaskSource) => servedAt.get(source) ?? 0
  return {
    order: () => groups.flatMap((group) => group.toSorted((a, b) => at(a) - at(b))),
    served(source) {
      count += 1
      servedAt.set(source, count)
    },
  }
}
