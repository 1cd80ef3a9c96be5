import { isDeepStrictEqual } from 'node:util'
import type { ResolvedRequest } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { Delivery, TaskQueue } from '../ports.ts'
import { isTask } from '../task-check.ts'
import { type RunDeps, runTask } from './run.ts'

/**
 * When a worker takes a task beside the ones that it has. Each is acknowledged on its own, and what its attempt does is the
 * same as alone.
 *
 * It takes the next task when the engine has nothing left to compute, while the pictures of the last one are stored. If
 * its device draws several pictures at the same time, it also takes what may be drawn beside the others. A task that
 * failed or was lost before is worked on alone: so one that kills its worker takes others with it only once.
 */

type Handler = Parameters<TaskQueue['consume']>[0]

/** A task that is worked on. */
interface Place {
  /** Undefined for one that must be alone. */
  readonly request: ResolvedRequest | undefined
  drawn: boolean
  /** Others were drawn at the same time. */
  shared: boolean
}

/** @returns the handler for the worker's queue */
export function sideBySide(deps: RunDeps, stopping: AbortSignal): Handler {
  const places = new Set<Place>()
  const together = () => deps.generator.together?.() ?? 1
  const drawing = () => [...places].filter(({ drawn }) => !drawn)
  /** Asks for the next task, unless that was done since the last one came. */
  let ask = () => {}
  let drained = Promise.withResolvers<void>()

  const look = () => {
    const busy = drawing()
    if (busy.length === 0) {
      drained.resolve()
      drained = Promise.withResolvers()
    }
    const behind = places.size - busy.length
    // what is drawn must be stored some day: no more than so many pictures wait for it
    if (behind > together()) return
    if (busy.length === 0 || room(busy, together()) > 0) ask()
  }
  return async (delivery, more) => {
    ask = () => {
      ask = () => {}
      more()
    }
    const place = placeOf(delivery)
    const busy = drawing()
    if (busy.length > 0 && !mayJoin(place, busy, together())) {
      // another worker may be free; this one takes nothing until it is
      ask = () => {}
      const { promise } = drained
      await bestEffort(deps.log, 'returning a task that cannot be drawn beside others', delivery.giveBack())
      await promise
      return
    }
    places.add(place)
    for (const each of busy) each.shared = true
    place.shared = busy.length > 0
    look()
    const onFree = () => {
      place.drawn = true
      look()
    }
    try {
      await runTask(deps, delivery, stopping, { onFree, shared: () => place.shared })
    } finally {
      places.delete(place)
      look()
    }
  }
}

function placeOf({ message, attempt, losses }: Delivery): Place {
  const isFirst = attempt === 1 && losses === 0
  return { request: isFirst && isTask(message) ? message.request : undefined, drawn: false, shared: false }
}

/** How many pictures may be drawn beside these. */
function room(busy: readonly Place[], together: number): number {
  if (busy.some(({ request }) => request === undefined)) return 0
  return busy.reduce((left, { request }) => left - Math.min(request?.count ?? 0, together), together)
}

/** Whether a task's pictures can share runs of the model with those that are drawn, and there is room for them. */
function mayJoin({ request }: Place, busy: readonly Place[], together: number): boolean {
  const other = busy[0]?.request
  if (request === undefined || other === undefined) return false
  if (Math.min(request.count, together) > room(busy, together)) return false
  return isDeepStrictEqual(kindOf(request), kindOf(other))
}

/** Whatever the runs of the model depend on, but for the length of the prompts. */
function kindOf({ model, vae, width, height, loras = [], hires, keep }: ResolvedRequest) {
  return { model, vae, width, height, loras, hires: hires && [hires.width, hires.height], keep }
}
