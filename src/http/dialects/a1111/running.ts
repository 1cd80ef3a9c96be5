import type { Caller } from '../../../jobs/caller.ts'
import { AppError } from '../../../jobs/errors.ts'
import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'
import type { Services } from '../../services.ts'

/**
 * Which calls of a caller are unfinished. The web UI has one user, and its `progress` and `interrupt` name no job: here
 * they mean the newest unfinished call of the caller.
 */
export interface Running {
  add(caller: Caller, ids: readonly string[]): Promise<void>
  remove(caller: Caller, ids: readonly string[]): Promise<void>
  /** The jobs of the newest call that has unfinished ones; empty if there is none. Rejects `unavailable`. */
  newest(caller: Caller): Promise<readonly JobView[]>
}

type Calls = readonly (readonly string[])[]

const noteName = 'a1111:calls'
const keptSeconds = 86_400
const mostCalls = 8

export function runningCalls(services: Services): Running {
  /** One change after the other, or two calls that begin together would know only one. */
  const turns = new Map<string, Promise<unknown>>()
  async function change(caller: Caller, changed: (calls: Calls) => Calls): Promise<void> {
    const before = turns.get(caller.account) ?? Promise.resolve()
    const turn = before.then(async () => {
      const calls = await read(caller)
      await services.note(caller, noteName, JSON.stringify(changed(calls)), keptSeconds)
    })
    turns.set(caller.account, turn)
    await turn
    if (turns.get(caller.account) === turn) turns.delete(caller.account)
  }

  async function read(caller: Caller): Promise<Calls> {
    const text = await services.noted(caller, noteName)
    return text === undefined ? [] : (JSON.parse(text) as Calls)
  }

  const remove = (caller: Caller, ids: readonly string[]) =>
    change(caller, (calls) => calls.filter((call) => call[0] !== ids[0]))

  return {
    add: (caller, ids) => change(caller, (calls) => [...calls, ids].slice(-mostCalls)),
    remove,
    async newest(caller) {
      for (const ids of [...(await read(caller))].reverse()) {
        const views = await Promise.all(ids.map((id) => unlessGone(services.view(id, caller))))
        const found = views.filter((view) => view !== undefined)
        if (found.some((view) => !isFinal(view))) return found
        // left behind by a server that died, or a client that left
        await remove(caller, ids)
      }
      return []
    },
  }
}

/** Undefined for a job that is no more. A store that is away for a moment says nothing of the job. */
async function unlessGone(view: Promise<JobView>): Promise<JobView | undefined> {
  try {
    return await view
  } catch (thrown) {
    const gone = thrown instanceof AppError && ['not_found', 'expired', 'deleted'].includes(thrown.code)
    if (gone) return undefined
    throw thrown
  }
}
