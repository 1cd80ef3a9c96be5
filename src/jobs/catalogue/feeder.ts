import { randomUUID } from 'node:crypto'
import { bestEffort } from '../log.ts'
import type { Load } from '../ports.ts'
import { deleteJob } from '../serving/delete.ts'
import { detached } from '../tracing.ts'
import {
  type Control,
  type Definition,
  itemsPerPart,
  jobOf,
  namesOf,
  partsOf,
  type Summary,
} from './documents.ts'
import { type Feed, type FeedDeps, openFeed, stepFeed, summaryOf, writeSummary } from './feed.ts'

/**
 * A server's work on open runs: each run is fed by one server at a time, which holds it by a note in the status store.
 * While that store is unavailable, runs wait; if it is wiped, another server may begin to feed a run that is being fed,
 * which does no harm (see `feed.ts`).
 */

export interface FeederTimes {
  /** Between two steps of a run. */
  readonly stepMs: number
  /** Between two looks for open runs. */
  readonly lookMs: number
  /** After this long without a step another server takes over. */
  readonly holdSeconds: number
}

const feederTimes: FeederTimes = { stepMs: 1000, lookMs: 10_000, holdSeconds: 10 }

export interface Feeder {
  /** Looks for open runs now: there is a new one, or its caller wants something else of one. */
  poke(): void
  /** Resolves when the current step has ended. */
  stop(): Promise<void>
}

/** A run is marked before its definition is written: after this long nobody writes it any more. */
const orphanMs = 3_600_000
const purgeMs = 500

export function startFeeder(deps: FeedDeps, times: FeederTimes = feederTimes): Feeder {
  const me = randomUUID()
  const feeds = new Map<string, Feed>()
  /** Where the deletion of a run is. */
  const purged = new Map<string, number>()
  let open: readonly string[] = []
  let lookAt = 0
  let [stopped, running] = [false, false]
  let timer: NodeJS.Timeout | undefined
  let step: Promise<void> = Promise.resolve()

  const isMine = async (id: string): Promise<boolean> => {
    const name = `catalogue-feeder:${id}`
    const holder = await deps.status.noted(name)
    if (holder !== undefined && holder !== me) return false
    if (holder === undefined && !(await deps.status.turn(name, times.holdSeconds * 100))) return false
    await deps.status.note(name, me, times.holdSeconds)
    return true
  }

  const forget = (id: string) => {
    feeds.delete(id)
    purged.delete(id)
    open = open.filter((other) => other !== id)
  }

  const feedRun = async (id: string, load: Load | undefined) => {
    const held = await bestEffort(deps.log, 'taking a catalogue run', isMine(id), 'debug')
    if (held === undefined) return
    if (!held) return void feeds.delete(id)
    const definition = feeds.get(id)?.definition ?? (await deps.documents.definition(id))
    if (definition === undefined) {
      const age = deps.now().getTime() - (deps.ids.issuedAt(id).getTime() - laterOf(deps))
      if (age > orphanMs) await deps.images.markRun(id, false)
      return
    }
    const isOver = Date.parse(definition.expires_at) <= deps.now().getTime()
    if (isOver || definition.deleted_at !== undefined) {
      forget(id)
      return deps.images.markRun(id, false)
    }
    const control = await deps.documents.control(id)
    const feed = feeds.get(id) ?? (await openFeed(deps, definition))
    feeds.set(id, feed)
    // the jobs of the round before end first
    const room = control.round > feed.round ? 0 : roomFor(load)
    const done = await stepFeed(deps, feed, control, room)
    if (control.wanted === 'delete') {
      if (done) await purge(definition, feed)
    } else if (control.round > feed.round) {
      if (feed.flying.size > 0) return
      const next = await openFeed(deps, definition, control.round)
      await writeSummary(deps, next)
      feeds.set(id, next)
    } else if (done) {
      await finish(deps, feed, control)
      forget(id)
    }
  }

  /** Deletes the jobs of a run and then its documents, a piece in each step. */
  const purge = async (definition: Definition, feed: Feed) => {
    const { id, items, caller } = definition
    const until = performance.now() + purgeMs
    let item = purged.get(id) ?? 0
    let results: Awaited<ReturnType<typeof deps.documents.results>> = []
    for (let first = true; item < items && performance.now() < until; item += 1, first = false) {
      const index = item % itemsPerPart
      if (first || index === 0) results = await deps.documents.results(id, Math.floor(item / itemsPerPart))
      const result = results[index]
      for (let round = 0; round <= (result?.round ?? -1); round += 1) {
        const job = jobOf(deps.ids, definition, item, round)
        if ((await deps.images.getManifest(job)) !== undefined) await deleteJob(deps, job, caller)
      }
    }
    purged.set(id, item)
    if (item < items) return
    const { webhook: _webhook, ...rest } = definition
    await deps.documents.putDefinition({ ...rest, deleted_at: deps.now().toISOString() })
    await deps.images.deleteRunFiles(id, namesOf(definition))
    await deps.images.markRun(id, false)
    forget(id)
    deps.log.info(
      { catalogue: id, parts: partsOf(definition), failures: feed.failures.length },
      'catalogue run deleted',
    )
  }

  const round = async () => {
    if (performance.now() >= lookAt) {
      const found = await bestEffort(deps.log, 'looking for open catalogue runs', deps.images.openRuns())
      lookAt = performance.now() + times.lookMs
      open = found ?? open
      for (const id of feeds.keys()) if (!open.includes(id)) feeds.delete(id)
    }
    if (open.length === 0) return
    const load = await bestEffort(deps.log, 'reading the load', deps.status.load(), 'debug')
    for (const id of open) {
      if (stopped) return
      await feedRun(id, load).catch((err: unknown) => {
        // what is in memory may differ from the documents now
        feeds.delete(id)
        deps.log.warn({ err, catalogue: id }, 'a step of a catalogue run failed; it is repeated')
      })
    }
  }

  const tick = () => {
    if (stopped || running) return
    running = true
    step = detached(round).finally(() => {
      running = false
      if (stopped) return
      timer = setTimeout(
        tick,
        Math.min(open.length === 0 ? times.lookMs : times.stepMs, Math.max(0, lookAt - performance.now())),
      )
    })
  }
  tick()
  return {
    poke() {
      lookAt = 0
      if (running) return
      clearTimeout(timer)
      timer = setTimeout(tick, 0)
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await step
    },
  }
}

/** What the id of a run is later than the run. */
function laterOf({
  ttlSeconds,
  catalogueTtlSeconds = ttlSeconds,
}: FeedDeps & { catalogueTtlSeconds?: number }) {
  return (catalogueTtlSeconds - ttlSeconds) * 1000
}

/** Enough that no worker waits between two steps, and so few that a run can be paused. */
function roomFor(load: Load | undefined): number {
  return 8 + 2 * (load?.workers ?? 0)
}

/** The end first, then its announcement, then the mark: a crash in between repeats the rest. */
async function finish(deps: FeedDeps, feed: Feed, control: Control): Promise<void> {
  const { definition } = feed
  const { id, webhook, caller } = definition
  const before = await deps.documents.summary(id)
  const ended = before.round === feed.round ? before.finished_at : undefined
  const summary = summaryOf(feed, ended ?? deps.now().toISOString())
  if (ended === undefined) await deps.documents.putSummary(id, summary)
  if (webhook !== undefined) {
    const event = { id: `evt_${id.slice(0, 26)}_finished_${control.round}`, type: 'catalogue.finished' }
    await deps.webhooks.announce({ ...event, caller, webhook, data: announced(definition, summary, control) })
  }
  await deps.images.markRun(id, false)
  const { round, wanted } = await deps.documents.control(id)
  // it was retried or deleted meanwhile
  if (round !== control.round || wanted === 'delete') await deps.images.markRun(id, true)
  deps.log.info(
    { catalogue: id, succeeded: summary.succeeded, failed: summary.failed },
    'catalogue run finished',
  )
}

function announced({ id, rows, items, webhook }: Definition, summary: Summary, { wanted }: Control) {
  const base = webhook?.base ?? ''
  const { succeeded, failed, finished_at } = summary
  return {
    id,
    status: wanted === 'cancel' && succeeded + failed < items ? 'canceled' : 'finished',
    rows,
    pictures: items,
    succeeded,
    failed,
    canceled: items - succeeded - failed,
    finished_at,
    links: {
      self: `${base}/v1/catalogues/${id}`,
      pictures: `${base}/v1/catalogues/${id}/pictures.zip`,
      manifest: `${base}/v1/catalogues/${id}/manifest.csv`,
    },
  }
}
