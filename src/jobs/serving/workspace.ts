import { randomBytes } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { anonymous, type Caller } from '../caller.ts'
import { AppError } from '../errors.ts'
import { ResolvedRequest } from '../job.ts'
import type { JobIds } from '../job-id.ts'
import { bestEffort, type Log } from '../log.ts'
import type { RateLimiter, StatusStore } from '../ports.ts'
import type { JobView } from './job-view.ts'
import { checkRate } from './rate.ts'
import { openLink, sealLink } from './workspace-link.ts'

/**
 * A workspace: what the page remembers for one person. That of a caller with a key is found by its name, that of anybody
 * else by a sealed random id in a cookie. It lists jobs and saved looks, in the status store: if that is wiped or
 * unavailable the page forgets, and nothing else is lost. It grants nothing: what is shown of a job is what its caller
 * may see, so a list with ids of somebody else shows none of theirs.
 */

interface WorkspaceLimits {
  /** Jobs, the newest. */
  readonly jobs: number
  readonly looks: number
  /** How long it is kept after its last use, and each job in it. */
  readonly seconds: number
}

const Entry = Type.Object({
  title: Type.String(),
  expires_at: Type.String(),
  /** Absent if it is too long. */
  request: Type.Optional(ResolvedRequest),
  /** Indexes of favourites, and of pictures that were removed from the workspace while others of their job stay. */
  liked: Type.Optional(Type.Array(Type.Integer())),
  hidden: Type.Optional(Type.Array(Type.Integer())),
})

/** A job of a workspace as it was accepted: enough to show a line of it, and to make it again, when it is gone. */
export interface WorkspaceJob extends Static<typeof Entry> {
  readonly id: string
  /** When it was added, in milliseconds since 1970. */
  readonly at: number
}

const Look = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 40 }),
  /** The fields of the form and their texts. */
  values: Type.Record(Type.String(), Type.String()),
})
export type Look = Static<typeof Look>

/** A job of the list as it is now: `view`, or why there is none. */
export interface SeenJob {
  readonly job: WorkspaceJob
  readonly view?: JobView
  readonly missing?: 'expired' | 'unavailable'
}

/** Methods that read return undefined if the store does not answer, and those that write whether they did; none rejects, but for `seen`. */
export interface Workspace {
  /** The value of the cookie by which it is found; absent: it is that of a caller with a key. */
  readonly cookie?: string
  /** What lets another device open it for some minutes; absent: it is that of a caller with a key. */
  link?(): string
  add(view: JobView): Promise<boolean>
  /** Newest first. */
  jobs(): Promise<readonly WorkspaceJob[] | undefined>
  /** These jobs as their caller sees them, without those that were deleted. Rejects `rate_limited`: each counts as a request. */
  seen(jobs: readonly WorkspaceJob[]): Promise<SeenJob[]>
  change(job: WorkspaceJob): Promise<boolean>
  remove(ids: readonly string[]): Promise<boolean>
  /** Hides all jobs that are there now; `restore` brings back those of the last time, for an hour. */
  clear(): Promise<boolean>
  restore(): Promise<boolean>
  /** Whether there is something to restore. */
  cleared(): Promise<boolean>
  /** Catalogue runs, the newest first. A run that is gone stays in the list until it is removed. */
  runs(): Promise<readonly string[] | undefined>
  addRun(id: string): Promise<boolean>
  removeRuns(ids: readonly string[]): Promise<boolean>
  looks(): Promise<readonly Look[] | undefined>
  /** In place of one of the same name. Beyond the limit the oldest is dropped. */
  saveLook(look: Look): Promise<boolean>
  removeLook(name: string): Promise<boolean>
}

export interface Workspaces {
  readonly limits: WorkspaceLimits
  /** The workspace of a caller; undefined if it has none yet. */
  find(caller: Caller, cookie: string | undefined): Workspace | undefined
  create(caller: Caller): Workspace
  /** The workspace of a link; undefined if the link is over or is none, and for a caller with a key. */
  openLink(caller: Caller, token: string): Workspace | undefined
}

export interface WorkspacesDeps {
  readonly ids: Pick<JobIds, 'accountTag' | 'workspaces'>
  readonly status: Pick<StatusStore, 'shelve' | 'shelved' | 'unshelve'>
  readonly workspaceLimits: WorkspaceLimits
  readonly requests: RateLimiter
  readonly now: () => Date
  readonly log: Log
  /** Rejects as `Services.view` does. */
  readonly view: (id: string, caller: Caller) => Promise<JobView>
}

/** A longer request is not kept in the list; its job has it while it lives. */
const longestRequest = 4096
const longestTitle = 160
/** Runs of a workspace. */
const mostRuns = 20
/** Jobs that are looked up at the same time. */
const readers = 8
const undoMs = 3_600_000
const markId = 'cleared'

export function createWorkspaces(deps: WorkspacesDeps): Workspaces {
  const { ids, workspaceLimits: limits } = deps
  const idShape = /^[\w-]{22}$/
  return {
    limits,
    find(caller, cookie) {
      if (caller.name !== anonymous)
        return workspace(deps, caller, `caller:${ids.accountTag(caller.account)}`)
      const id = cookie === undefined ? undefined : ids.workspaces.open(cookie)
      if (id === undefined || !idShape.test(id)) return undefined
      return workspace(deps, caller, id, ids.workspaces.seal(id))
    },
    create(caller) {
      if (caller.name !== anonymous)
        return workspace(deps, caller, `caller:${ids.accountTag(caller.account)}`)
      const id = randomBytes(16).toString('base64url')
      return workspace(deps, caller, id, ids.workspaces.seal(id))
    },
    openLink(caller, token) {
      const id = caller.name === anonymous ? openLink(ids.workspaces, token, deps.now()) : undefined
      return id === undefined ? undefined : workspace(deps, caller, id, ids.workspaces.seal(id))
    },
  }
}

function workspace(deps: WorkspacesDeps, caller: Caller, id: string, cookie?: string): Workspace {
  const { status, now, workspaceLimits: limits } = deps
  const { seconds } = limits
  const [jobList, lookList, markList, runList] = ['jobs', 'looks', 'marks', 'runs'].map(
    (kind) => `${kind}:${id}`,
  ) as [string, string, string, string]
  const read = <T>(what: string, action: () => Promise<T>) => reading(deps.log, what, action)
  const wrote = async (what: string, action: () => Promise<void>) =>
    (await reading(deps.log, what, async () => {
      await action()
      return true
    })) === true
  const put = (job: WorkspaceJob) => {
    const { id: jobId, at, ...entry } = job
    return status.shelve(
      jobList,
      { id: jobId, at, text: JSON.stringify(entry) },
      { most: limits.jobs, seconds },
    )
  }
  const marks = async (): Promise<number[]> => {
    const [mark] = await status.shelved(markList, seconds)
    return mark === undefined ? [] : (mark.text.split(' ').map(Number) as number[])
  }
  const mark = async (times: readonly number[]) => {
    if (times.length === 0) return status.unshelve(markList, [markId])
    const item = { id: markId, at: now().getTime(), text: times.join(' ') }
    return status.shelve(markList, item, { most: 1, seconds })
  }
  return {
    ...(cookie === undefined ? {} : { cookie, link: () => sealLink(deps.ids.workspaces, id, now()) }),
    add: (view) => wrote('adding a job to a workspace', () => put(entryOf(view, now()))),
    change: (job) => wrote('changing a job of a workspace', () => put(job)),
    remove: (those) => wrote('removing jobs from a workspace', () => status.unshelve(jobList, those)),
    jobs: () =>
      read('reading the jobs of a workspace', async () => {
        const [items, [before = 0]] = await Promise.all([status.shelved(jobList, seconds), marks()])
        const time = now().getTime()
        const oldest = Math.max(time - seconds * 1000, before < time - undoMs ? before : 0)
        const over = items.filter(({ at }) => at <= oldest).map((item) => item.id)
        if (over.length > 0) await status.unshelve(jobList, over)
        return items.flatMap((item) => (item.at <= Math.max(oldest, before) ? [] : (jobIn(item) ?? [])))
      }),
    async seen(jobs) {
      await checkRate(deps.requests, caller, 'requests', jobs.length)
      const found: SeenJob[] = []
      const over: string[] = []
      for (let start = 0; start < jobs.length; start += readers) {
        const some = jobs.slice(start, start + readers)
        const views = await Promise.all(some.map((job) => seenOf(deps, job, caller)))
        for (const [index, each] of views.entries()) {
          if (each === undefined) over.push(some[index]?.id ?? '')
          else found.push(each)
        }
      }
      if (over.length > 0) await wrote('removing jobs that are gone', () => status.unshelve(jobList, over))
      return found
    },
    clear: () =>
      wrote('clearing a workspace', async () => {
        const [before] = await marks()
        await mark([now().getTime(), ...(before === undefined ? [] : [before])])
      }),
    restore: () => wrote('restoring a workspace', async () => mark((await marks()).slice(1, 2))),
    async cleared() {
      const [last = 0] = (await read('reading the marks of a workspace', marks)) ?? []
      return last > now().getTime() - undoMs
    },
    runs: () =>
      read('reading the runs of a workspace', async () =>
        (await status.shelved(runList, seconds)).map((item) => item.id),
      ),
    addRun: (run) =>
      wrote('adding a run to a workspace', () =>
        status.shelve(runList, { id: run, at: now().getTime(), text: '' }, { most: mostRuns, seconds }),
      ),
    removeRuns: (those) => wrote('removing runs from a workspace', () => status.unshelve(runList, those)),
    looks: () =>
      read('reading saved looks', async () =>
        (await status.shelved(lookList, seconds)).flatMap(({ text }) => lookIn(text) ?? []),
      ),
    saveLook: (look) =>
      wrote('saving a look', () => {
        const item = { id: look.name, at: now().getTime(), text: JSON.stringify(look) }
        return status.shelve(lookList, item, { most: limits.looks, seconds })
      }),
    removeLook: (name) => wrote('removing a look', () => status.unshelve(lookList, [name])),
  }
}

function reading<T>(log: Log, what: string, action: () => Promise<T>): Promise<T | undefined> {
  return bestEffort(log, what, Promise.try(action), 'debug')
}

/** Undefined if it was deleted, or is of somebody else. */
async function seenOf(
  { view }: WorkspacesDeps,
  job: WorkspaceJob,
  caller: Caller,
): Promise<SeenJob | undefined> {
  try {
    return { job, view: await view(job.id, caller) }
  } catch (thrown) {
    const code = thrown instanceof AppError ? thrown.code : 'internal'
    if (code === 'not_found' || code === 'deleted') return undefined
    if (code === 'expired') return { job, missing: 'expired' }
    return { job, missing: 'unavailable' }
  }
}

function entryOf({ id, request, expires_at }: JobView, now: Date): WorkspaceJob {
  const fits = request !== undefined && JSON.stringify(request).length <= longestRequest
  const title = [...(request?.prompt ?? 'A picture')].slice(0, longestTitle).join('')
  return { id, at: now.getTime(), title, expires_at, ...(fits ? { request } : {}) }
}

/** Undefined for what another version wrote unreadably: a cache may miss. */
function jobIn({ id, at, text }: { id: string; at: number; text: string }): WorkspaceJob | undefined {
  const entry = parsed(text)
  return Value.Check(Entry, entry) ? { ...entry, id, at } : undefined
}

function lookIn(text: string): Look | undefined {
  const look = parsed(text)
  return Value.Check(Look, look) ? look : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
