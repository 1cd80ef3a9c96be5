import type { Readable } from 'node:stream'
import { anonymous, type Caller, requireScope } from '../caller.ts'
import { AppError, toAppError } from '../errors.ts'
import { type ArchiveDeps, manifestCsv, zipOf } from './archive.ts'
import { type CreateDeps, createRun, isOwn, type RunOptions } from './create.ts'
import { type Control, runDocuments } from './documents.ts'
import type { FeedDeps } from './feed.ts'
import { type Feeder, type FeederTimes, startFeeder } from './feeder.ts'
import {
  type CatalogueView,
  findRun,
  type ItemPage,
  type PageOptions,
  pageOfItems,
  type Run,
  viewRun,
} from './view.ts'

/** Catalogue runs as the HTTP side sees them. Every method rejects with an `AppError` and with nothing else. */
export interface Catalogues {
  /** See `createRun`. */
  create(body: unknown, options: RunOptions): Promise<CatalogueView>
  /** Rejects `not_found` for an id that was never issued to this caller, `expired`, `deleted`, `forbidden`. So do all below. */
  view(id: string, caller: Caller): Promise<CatalogueView>
  items(id: string, caller: Caller, options: PageOptions): Promise<ItemPage>
  /** The runs of a caller with a name, the newest first; none of others, who would see those of everybody. */
  list(caller: Caller): Promise<CatalogueView[]>
  /**
   * What is wanted of a run. `pause`: jobs that were submitted are still made. `cancel`: they are not. `retry`: what failed
   * or was canceled is made again. Repeatable; rejects `not_ready` for what the run cannot do now.
   */
  control(id: string, caller: Caller, wanted: ControlName): Promise<CatalogueView>
  /** Deletes a run and its pictures, in the background; they are gone for clients at once. */
  remove(id: string, caller: Caller): Promise<void>
  zip(id: string, caller: Caller, base: string): Promise<Readable>
  manifest(id: string, caller: Caller, base: string): Promise<AsyncIterable<string>>
  /** Begins to feed open runs. */
  start(times?: FeederTimes): Feeder
  /** Maximum size of the body of `create`, and of its list. */
  readonly bodyBytes: number
  readonly mostRows: number
}

export const controlNames = ['pause', 'resume', 'cancel', 'retry'] as const
export type ControlName = (typeof controlNames)[number]

export type CataloguesDeps = Omit<CreateDeps & FeedDeps & ArchiveDeps, 'documents'>

const mostListed = 100

export function createCatalogues(given: CataloguesDeps): Catalogues {
  const documents = runDocuments(given.images)
  const deps = { ...given, documents }
  const feeders = new Set<Feeder>()
  const poke = () => {
    for (const feeder of feeders) feeder.poke()
  }
  const asAppError = async <T>(caller: Caller, action: () => Promise<T>): Promise<T> => {
    try {
      requireScope(caller, 'catalogues')
      return await action()
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  const onRun = <T>(id: string, caller: Caller, action: (run: Run) => T | Promise<T>) =>
    asAppError(caller, async () => action(await findRun(deps, id, caller.name)))

  return {
    create: (body, options) =>
      asAppError(options.caller, async () => {
        const { id } = await createRun(deps, body, options)
        poke()
        return viewRun(deps, await findRun(deps, id, options.caller.name))
      }),
    view: (id, caller) => onRun(id, caller, (run) => viewRun(deps, run)),
    items: (id, caller, options) => onRun(id, caller, (run) => pageOfItems(deps, run, options)),
    list: (caller) =>
      asAppError(caller, async () => {
        if (caller.name === anonymous) return []
        const own = (await deps.images.allRuns()).filter((id) => isOwn(deps, id, caller.name))
        const views: CatalogueView[] = []
        for (const id of own.reverse()) {
          if (views.length === mostListed) break
          const run = await findRun(deps, id, caller.name).catch(unlessGone)
          if (run !== undefined) views.push(await viewRun(deps, run))
        }
        return views
      }),
    control: (id, caller, wanted) =>
      onRun(id, caller, async (run) => {
        const next = nextControl(run, await viewRun(deps, run), wanted)
        if (next !== undefined) {
          // the mark is last: a finished run that was marked first would be closed again
          await documents.putControl(id, next)
          await deps.images.markRun(id, true)
        }
        poke()
        return viewRun(deps, await findRun(deps, id, caller.name))
      }),
    remove: (id, caller) =>
      onRun(id, caller, async ({ control }) => {
        await documents.putControl(id, { ...control, wanted: 'delete' })
        await deps.images.markRun(id, true)
        poke()
      }),
    zip: (id, caller, base) => onRun(id, caller, (run) => zipOf(deps, run, base)),
    manifest: (id, caller, base) => onRun(id, caller, (run) => manifestCsv(deps, run, base)),
    start(times) {
      const feeder = startFeeder(deps, times)
      feeders.add(feeder)
      return {
        poke: feeder.poke,
        async stop() {
          feeders.delete(feeder)
          await feeder.stop()
        },
      }
    },
    bodyBytes: deps.catalogueLimits.bytes,
    mostRows: deps.catalogueLimits.rows,
  }
}

/** Undefined if nothing changes. */
function nextControl({ control }: Run, view: CatalogueView, wanted: ControlName): Control | undefined {
  const { status, counts } = view
  const over = status === 'finished' || status === 'canceled'
  if (wanted === 'retry') {
    if (over && counts.failed + counts.canceled === 0) return undefined
    if (status === 'canceling') throw notNow('It is being canceled: retry it when that is done.')
    return { ...control, wanted: 'run', round: control.round + 1 }
  }
  if (wanted === 'resume') {
    if (status === 'canceled' || status === 'canceling')
      throw notNow('It was canceled: retry makes the rest.')
    return status === 'paused' ? { ...control, wanted: 'run' } : undefined
  }
  if (over || status === 'canceling') return undefined
  if (wanted === 'pause') return status === 'running' ? { ...control, wanted: 'pause' } : undefined
  return { ...control, wanted: 'cancel' }
}

function notNow(message: string): AppError {
  return new AppError('not_ready', message, { param: 'id' })
}

function unlessGone(thrown: unknown): undefined {
  const { code } = toAppError(thrown)
  if (code === 'deleted' || code === 'expired' || code === 'not_found') return undefined
  throw thrown
}
