import { type Static, Type } from 'typebox'
import { AppError } from '../errors.ts'
import { JobError } from '../job.ts'
import type { JobIds } from '../job-id.ts'
import { bestEffort, type Log } from '../log.ts'
import type { StatusStore } from '../ports.ts'
import {
  type Control,
  type Definition,
  itemsPerPart,
  jobOf,
  partOf,
  partsOf,
  placeOf,
  type RunDocuments,
  type Summary,
  stands,
} from './documents.ts'

/** What a client sees of a catalogue run: never more than a few documents are read for an answer. */

const runStatuses = ['running', 'paused', 'canceling', 'finished', 'canceled'] as const

const Counts = Type.Object({
  waiting: Type.Integer(),
  running: Type.Integer({ description: 'Pictures whose jobs wait in the queue or run.' }),
  succeeded: Type.Integer(),
  failed: Type.Integer(),
  canceled: Type.Integer(),
})

export const CatalogueView = Type.Object({
  id: Type.String(),
  status: Type.Enum(runStatuses),
  rows: Type.Integer(),
  variants: Type.Integer({ description: 'Of each row and set.' }),
  sets: Type.Optional(Type.Array(Type.String(), { description: 'The names of its sets, if it has some.' })),
  pictures: Type.Integer({ description: 'Rows times sets times variants.' }),
  counts: Counts,
  eta_seconds: Type.Optional(
    Type.Number({ description: 'If nothing else is made. Absent until the speed is measured.' }),
  ),
  poll_after_ms: Type.Optional(
    Type.Integer({ description: 'When to poll again; absent once nothing moves.' }),
  ),
  held_up: Type.Optional(JobError),
  failures: Type.Array(
    Type.Object({
      row: Type.Integer(),
      set: Type.Optional(Type.String()),
      variant: Type.Integer(),
      file: Type.String(),
      error: JobError,
    }),
    { description: 'The first pictures that failed; `rows?status=failed` has all.' },
  ),
  created_at: Type.String(),
  finished_at: Type.Optional(Type.String()),
  expires_at: Type.String({ description: 'When the run and its pictures are deleted.' }),
  links: Type.Object({
    self: Type.String(),
    rows: Type.String(),
    pictures: Type.String({ description: 'All pictures that are there, as a ZIP file.' }),
    manifest: Type.String({ description: 'File names, seeds, links and hashes, as CSV.' }),
  }),
})
export type CatalogueView = Static<typeof CatalogueView>

const itemStatuses = ['waiting', 'running', 'succeeded', 'failed', 'canceled'] as const
type ItemStatus = (typeof itemStatuses)[number]

export const ItemView = Type.Object({
  row: Type.Integer({ description: 'Counted from 1, without the header.' }),
  set: Type.Optional(Type.String({ description: 'The name of its set, if the run has some.' })),
  variant: Type.Integer(),
  file: Type.String(),
  status: Type.Enum(itemStatuses),
  prompt: Type.String(),
  seed: Type.Integer(),
  job: Type.Optional(Type.String({ description: 'The id of its job, if there is one.' })),
  link: Type.Optional(
    Type.String({ description: 'Address of the picture, relative to this server: it needs no key.' }),
  ),
  sha256: Type.Optional(Type.String()),
  bytes: Type.Optional(Type.Integer()),
  error: Type.Optional(JobError),
})
export type ItemView = Static<typeof ItemView>

export const ItemPage = Type.Object({
  rows: Type.Array(ItemView),
  next: Type.Optional(Type.String({ description: 'The `cursor` of the next page; absent on the last.' })),
})
export type ItemPage = Static<typeof ItemPage>

export interface ViewDeps {
  readonly ids: JobIds
  readonly documents: RunDocuments
  readonly status: StatusStore
  readonly now: () => Date
  readonly log: Log
}

/** A run with all that is said about it. */
export interface Run {
  readonly definition: Definition
  readonly control: Control
  readonly summary: Summary
}

/** Rejects `not_found` for an id that was never issued to this caller, `expired` and `deleted` for a run that is gone. */
export async function findRun({ ids, documents, now }: ViewDeps, id: string, owner: string): Promise<Run> {
  ids.catalogues.verify(id, owner)
  const definition = await documents.definition(id)
  if (definition === undefined)
    throw new AppError('not_found', 'There is no catalogue run with this id.', { param: 'id' })
  if (Date.parse(definition.expires_at) <= now().getTime()) {
    throw new AppError('expired', 'The catalogue run has expired, with its pictures.', { param: 'id' })
  }
  const [control, summary] = await Promise.all([documents.control(id), documents.summary(id)])
  if (definition.deleted_at !== undefined || control.wanted === 'delete') {
    throw new AppError('deleted', 'The catalogue run was deleted, with its pictures.', { param: 'id' })
  }
  return { definition, control, summary }
}

function statusOf({ control, summary, definition }: Run): CatalogueView['status'] {
  const ended = summary.round === control.round && summary.finished_at !== undefined
  const all = summary.succeeded + summary.failed + summary.canceled === definition.items
  if (ended) return control.wanted === 'cancel' && !all ? 'canceled' : 'finished'
  if (control.wanted === 'cancel') return 'canceling'
  return control.wanted === 'pause' ? 'paused' : 'running'
}

const shortestPollMs = 1000
const longestPollMs = 30_000

export async function viewRun(deps: ViewDeps, run: Run): Promise<CatalogueView> {
  const { definition, control, summary } = run
  const { id, rows, variants, sets, items, units, created_at, expires_at } = definition
  const status = statusOf(run)
  const current = summary.round === control.round
  const { succeeded } = summary
  const [failed, canceled] = current ? [summary.failed, summary.canceled] : [0, 0]
  const flying = summary.flying.length
  const rest = items - succeeded - failed - canceled - flying
  const over = status === 'canceled'
  const moves = status === 'running' || status === 'canceling' || (status === 'paused' && flying > 0)
  const seconds = status === 'running' ? await secondsFor(deps, (units / items) * (rest + flying)) : undefined
  const wait = seconds === undefined ? 2000 : (seconds / 50) * 1000
  const self = `/v1/catalogues/${id}`
  return {
    id,
    status,
    rows,
    variants: variants / (sets?.length ?? 1),
    ...(sets === undefined ? {} : { sets }),
    pictures: items,
    counts: {
      waiting: over ? 0 : rest,
      running: flying,
      succeeded,
      failed,
      canceled: over ? canceled + rest : canceled,
    },
    ...(seconds === undefined ? {} : { eta_seconds: seconds }),
    ...(moves ? { poll_after_ms: Math.round(Math.min(longestPollMs, Math.max(shortestPollMs, wait))) } : {}),
    ...(status === 'running' && summary.held_up !== undefined ? { held_up: summary.held_up } : {}),
    failures: summary.failures.map(({ item, name, error }) => ({
      ...placeOf(item, definition),
      file: name,
      error,
    })),
    created_at,
    ...(current && summary.finished_at !== undefined ? { finished_at: summary.finished_at } : {}),
    expires_at,
    links: { self, rows: `${self}/rows`, pictures: `${self}/pictures.zip`, manifest: `${self}/manifest.csv` },
  }
}

async function secondsFor({ status, log }: ViewDeps, units: number): Promise<number | undefined> {
  const load = await bestEffort(log, 'reading the load', status.load(), 'debug')
  if (load?.secondsPerUnit === undefined) return undefined
  return Math.round((units * load.secondsPerUnit) / Math.max(1, load.workers))
}

/** The items of a part as they are now. */
export async function itemsOfPart(
  deps: Pick<ViewDeps, 'ids' | 'documents'>,
  run: Run,
  part: number,
): Promise<ItemView[]> {
  const { definition, control, summary } = run
  const { id } = definition
  const [items, results] = await Promise.all([
    deps.documents.items(id, part),
    deps.documents.results(id, part),
  ])
  const flying = new Set(summary.flying)
  const over = statusOf(run) === 'canceled'
  return items.map(({ name, request }, index) => {
    const item = part * itemsPerPart + index
    const known = { ...placeOf(item, definition), file: name, prompt: request.prompt, seed: request.seed }
    const result = results[index]
    if (flying.has(item)) {
      return { ...known, status: 'running', job: jobOf(deps.ids, definition, item, summary.round) }
    }
    if (!stands(result, control.round)) return { ...known, status: over ? 'canceled' : 'waiting' }
    const { status, round, sha256, bytes, error } = result
    const job = jobOf(deps.ids, definition, item, round)
    return {
      ...known,
      status,
      job,
      ...(status === 'succeeded' ? { link: `/v1/pictures/${deps.ids.pictures.issue(job, 0)}` } : {}),
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(bytes === undefined ? {} : { bytes }),
      ...(error === undefined ? {} : { error }),
    }
  })
}

export interface PageOptions {
  readonly status?: unknown
  readonly cursor?: unknown
  readonly limit?: unknown
}

const mostPerPage = 200
/** A page with a status may be short, or empty, though more follow. */
const mostPartsPerPage = 20

/** Items in their order. Rejects `invalid_request` for options that it does not have. */
export async function pageOfItems(
  deps: ViewDeps,
  run: Run,
  { status, cursor, limit }: PageOptions,
): Promise<ItemPage> {
  const { definition } = run
  if (status !== undefined && !itemStatuses.includes(status as ItemStatus)) {
    throw wrongOption('status', `status must be one of ${itemStatuses.join(', ')}.`)
  }
  const start = cursor === undefined ? 0 : Number(/^\d{1,7}$/.test(String(cursor)) ? cursor : -1)
  if (start < 0) throw wrongOption('cursor', 'cursor must be the next of an earlier page.')
  const most = limit === undefined ? 50 : Number(/^\d{1,3}$/.test(String(limit)) ? limit : 0)
  if (most < 1 || most > mostPerPage)
    throw wrongOption('limit', `limit must be a whole number from 1 to ${mostPerPage}.`)
  const rows: ItemView[] = []
  const first = partOf(start)
  for (let part = first; part < Math.min(partsOf(definition), first + mostPartsPerPage); part += 1) {
    for (const [index, view] of (await itemsOfPart(deps, run, part)).entries()) {
      const item = part * itemsPerPart + index
      if (item < start || (status !== undefined && view.status !== status)) continue
      if (rows.length === most) return { rows, next: String(item) }
      rows.push(view)
    }
  }
  const reached = Math.min(definition.items, (first + mostPartsPerPage) * itemsPerPart)
  return { rows, ...(reached < definition.items ? { next: String(reached) } : {}) }
}

function wrongOption(param: string, message: string): AppError {
  return new AppError('invalid_request', message, { param, faults: [{ param, message }] })
}
