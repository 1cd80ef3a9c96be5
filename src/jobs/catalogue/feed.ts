import { anonymous, type Caller } from '../caller.ts'
import { AppError, clientMessage, toAppError } from '../errors.ts'
import type { JobError } from '../job.ts'
import { bestEffort } from '../log.ts'
import { type CancelDeps, cancelJob } from '../serving/cancel.ts'
import { accept, type SubmitDeps } from '../serving/submit.ts'
import type { Webhooks } from '../serving/webhooks/webhooks.ts'
import {
  type Control,
  type Definition,
  type Failure,
  type Item,
  itemsPerPart,
  jobOf,
  partOf,
  partsOf,
  type Result,
  type RunDocuments,
  type Summary,
  stands,
} from './documents.ts'

/**
 * Feeds a run to the queue: each step collects what became of the jobs of its items and submits as many new ones as there
 * is room for. What is in memory is a copy of the documents, and can be read again at any time.
 *
 * The order of writes: results, then the summary with the items that are about to be submitted, then the jobs. A crash
 * leaves items in the summary that have no job: they are submitted by the next server. An item whose job is submitted
 * twice is made once, because both have one id.
 */

export interface FeedDeps extends SubmitDeps, CancelDeps {
  readonly webhooks: Pick<Webhooks, 'accept' | 'announce'>
  readonly documents: RunDocuments
  /** The caller as it is now; undefined if it may do nothing any longer. */
  readonly callerNamed: (name: string, account: string) => Caller | undefined
}

/** A run that this server feeds. */
export interface Feed {
  readonly definition: Definition
  /** 0: has no final result in `round`, else the place of its status in `statuses`, counted from 1. */
  readonly done: Uint8Array
  round: number
  /** Items with a job that is not final; a number counts how often their job was found nowhere. */
  readonly flying: Map<number, number>
  failures: Failure[]
  heldUp: JobError | undefined
  /** In ms of `performance.now`. */
  heldUpUntil: number
  /** Every item below it is done or flies. */
  next: number
  items: { readonly part: number; readonly list: readonly Item[] } | undefined
}

const statuses = ['succeeded', 'failed', 'canceled'] as const
const mostFailures = 10
/** A job that neither store knows was never published, or its status was lost: it is submitted again after so many looks. */
const looksInVain = 30
const looksAtOnce = 16

/** Reads where a run stands. @param round absent: that of the summary */
export async function openFeed(
  { documents }: Pick<FeedDeps, 'documents'>,
  definition: Definition,
  round?: number,
): Promise<Feed> {
  const { id, items } = definition
  const summary = await documents.summary(id)
  const feed: Feed = {
    definition,
    done: new Uint8Array(items),
    round: round ?? summary.round,
    flying: new Map(),
    failures: [],
    heldUp: undefined,
    heldUpUntil: 0,
    next: 0,
    items: undefined,
  }
  for (let part = 0; part < partsOf(definition); part += 1) {
    for (const [index, result] of (await documents.results(id, part)).entries()) {
      if (stands(result, feed.round))
        feed.done[part * itemsPerPart + index] = statuses.indexOf(result.status) + 1
    }
  }
  if (summary.round === feed.round) {
    feed.failures = summary.failures
    // an item whose job was never published is found out at the first look
    for (const item of summary.flying) if (feed.done[item] === 0) feed.flying.set(item, looksInVain)
  }
  return feed
}

/** Collects, then submits. @param room maximum number of jobs of a run at the same time. Returns whether all items are done. */
export async function stepFeed(deps: FeedDeps, feed: Feed, control: Control, room: number): Promise<boolean> {
  const found = await collect(deps, feed)
  if (control.wanted === 'run') {
    const claimed = claim(feed, room)
    if (found || claimed.length > 0) await writeSummary(deps, feed)
    if (await submit(deps, feed, claimed)) await writeSummary(deps, feed)
  } else {
    if (control.wanted !== 'pause') await cancelAll(deps, feed)
    if (found) await writeSummary(deps, feed)
  }
  if (feed.flying.size > 0) return false
  return control.wanted === 'cancel' || control.wanted === 'delete' || feed.done.every((status) => status > 0)
}

export function summaryOf(feed: Feed, finished_at?: string): Summary {
  const counts = [0, 0, 0, 0]
  for (const status of feed.done) counts[status] = (counts[status] ?? 0) + 1
  const [, succeeded = 0, failed = 0, canceled = 0] = counts
  return {
    v: 1,
    round: feed.round,
    succeeded,
    failed,
    canceled,
    flying: [...feed.flying.keys()],
    failures: feed.failures,
    ...(feed.heldUp === undefined ? {} : { held_up: feed.heldUp }),
    ...(finished_at === undefined ? {} : { finished_at }),
  }
}

export async function writeSummary({ documents }: Pick<FeedDeps, 'documents'>, feed: Feed): Promise<void> {
  await documents.putSummary(feed.definition.id, summaryOf(feed))
}

/** What became of the items that fly. Returns whether anything did. */
async function collect(deps: FeedDeps, feed: Feed): Promise<boolean> {
  const results = new Map<number, Result>()
  const flying = [...feed.flying.keys()]
  for (let at = 0; at < flying.length; at += looksAtOnce) {
    const some = flying.slice(at, at + looksAtOnce)
    await Promise.all(
      some.map(async (item) => {
        const result = await resultOf(deps, feed, item)
        if (result !== undefined) results.set(item, result)
      }),
    )
  }
  const lost = [...feed.flying].filter(([item, looks]) => !results.has(item) && looks > looksInVain)
  for (const [item] of lost) {
    feed.flying.delete(item)
    feed.next = Math.min(feed.next, item)
  }
  await record(deps, feed, results)
  return results.size > 0 || lost.length > 0
}

async function resultOf(deps: FeedDeps, feed: Feed, item: number): Promise<Result | undefined> {
  const { round } = feed
  const id = jobOf(deps.ids, feed.definition, item, round)
  const state = await deps.status.get(id)
  const waits = state?.status === 'queued' || state?.status === 'running'
  if (waits && !deps.status.doubtful()) {
    feed.flying.set(item, 0)
    return undefined
  }
  const manifest = await deps.images.getManifest(id)
  if (manifest === undefined) {
    if (state?.status === 'canceled') return { round, status: 'canceled' }
    feed.flying.set(item, waits ? 0 : (feed.flying.get(item) ?? 0) + 1)
    return undefined
  }
  const { status, error, images, deleted_at } = manifest
  if (deleted_at !== undefined) return { round, status: 'canceled' }
  const [image] = images
  return {
    round,
    status,
    ...(image === undefined ? {} : { sha256: image.sha256, bytes: image.bytes }),
    ...(error === undefined ? {} : { error }),
  }
}

/** Writes results into the documents, part by part, and then into the feed. */
async function record(
  { documents }: FeedDeps,
  feed: Feed,
  results: ReadonlyMap<number, Result>,
): Promise<void> {
  const { definition } = feed
  const { id, items } = definition
  for (const [part, ofPart] of Map.groupBy(results, ([item]) => partOf(item))) {
    const stored = await documents.results(id, part)
    const length = Math.min(itemsPerPart, items - part * itemsPerPart)
    const next = Array.from({ length }, (_, index) => stored[index] ?? null)
    for (const [item, result] of ofPart) next[item - part * itemsPerPart] = result
    await documents.putResults(id, part, next)
    for (const [item, result] of ofPart) {
      feed.flying.delete(item)
      feed.done[item] = statuses.indexOf(result.status) + 1
      if (result.error === undefined || feed.failures.length >= mostFailures) continue
      const { name } = await itemOf({ documents }, feed, item)
      feed.failures = [...feed.failures, { item, name, error: result.error }]
    }
  }
}

async function itemOf({ documents }: Pick<FeedDeps, 'documents'>, feed: Feed, item: number): Promise<Item> {
  const part = partOf(item)
  if (feed.items?.part !== part) feed.items = { part, list: await documents.items(feed.definition.id, part) }
  const found = feed.items.list[item - part * itemsPerPart]
  if (found === undefined) throw new Error(`a part of a catalogue run lacks item ${item}`)
  return found
}

/** The next items to be submitted, which fly from now on. */
function claim(feed: Feed, room: number): number[] {
  const claimed: number[] = []
  if (performance.now() < feed.heldUpUntil) return claimed
  while (feed.next < feed.done.length && feed.flying.size < room) {
    const item = feed.next
    feed.next += 1
    if (feed.done[item] !== 0 || feed.flying.has(item)) continue
    feed.flying.set(item, 0)
    claimed.push(item)
  }
  return claimed
}

/** Returns whether something is different from what the summary says. */
async function submit(deps: FeedDeps, feed: Feed, claimed: readonly number[]): Promise<boolean> {
  const { definition, round } = feed
  const failed = new Map<number, Result>()
  const before = feed.heldUp?.message
  for (const [index, item] of claimed.entries()) {
    try {
      await submitItem(deps, feed, item)
      feed.heldUp = undefined
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'invalid_request') {
        failed.set(item, { round, status: 'failed', error: jobError(error) })
        continue
      }
      deps.log.debug({ catalogue: definition.id, code: error.code }, 'a catalogue run is held up')
      holdUp(feed, error)
      for (const left of claimed.slice(index)) feed.flying.delete(left)
      feed.next = Math.min(feed.next, item)
      break
    }
  }
  await record(deps, feed, failed)
  return failed.size > 0 || before !== feed.heldUp?.message
}

async function submitItem(deps: FeedDeps, feed: Feed, item: number): Promise<void> {
  const { definition, round } = feed
  const { caller: name, account, expires_at } = definition
  const by = deps.callerNamed(name, account)
  if (by === undefined) throw new AppError('forbidden', 'Its caller has no key any longer.')
  const { request } = await itemOf(deps, feed, item)
  await accept(deps, {
    request,
    priority: 'batch',
    id: jobOf(deps.ids, definition, item, round),
    by,
    account: deps.ids.accountTag(account),
    ...(name === anonymous ? {} : { caller: name }),
    now: deps.now(),
    expires_at,
  })
}

const longestHoldUpMs = 30_000

function holdUp(feed: Feed, error: AppError): void {
  feed.heldUp = jobError(error)
  feed.heldUpUntil = performance.now() + Math.min(longestHoldUpMs, (error.retryAfterSeconds ?? 5) * 1000)
}

function jobError(error: AppError): JobError {
  return { code: error.code, message: clientMessage(error) }
}

async function cancelAll(deps: FeedDeps, feed: Feed): Promise<void> {
  const { definition, round } = feed
  for (const item of feed.flying.keys()) {
    const id = jobOf(deps.ids, definition, item, round)
    await bestEffort(deps.log, 'canceling a job of a catalogue run', cancelJob(deps, id, definition.caller))
    // a job that was never published ends by this look
    if ((feed.flying.get(item) ?? 0) > 0) feed.flying.set(item, looksInVain)
  }
}
