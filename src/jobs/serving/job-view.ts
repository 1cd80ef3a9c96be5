import { type Static, Type } from 'typebox'
import { AppError } from '../errors.ts'
import { Measured } from '../finish.ts'
import { endOf, finalStatuses, JobError, type JobState, type Manifest, ResolvedRequest } from '../job.ts'
import { expiryOf, hasExpired, type JobIds } from '../job-id.ts'
import { bestEffort, type Log } from '../log.ts'
import type { ImageStore, Load, StatusStore } from '../ports.ts'
import { estimateSeconds, pollAfterMs, remainingUnits } from './waiting.ts'

/**
 * What a client sees of a job.
 *
 * An unfinished job is answered from the status store alone, so that polling costs the image store nothing; but not
 * just after an outage of the status store: a client that saw the end of a job must not see it unfinished again. For a
 * job that is final, or unknown to the status store, the manifest decides; without one, an id that this installation
 * issued is `queued`. So with the status store wiped every answer is still right, only slower. A state that missed its
 * job's end is repaired by the job's event, which is repeated until it is written, and by an answer that says the end
 * before: other servers must not say `running` after it.
 */

const shownStatuses = ['queued', 'running', ...finalStatuses] as const

export const ImageView = Type.Object({
  url: Type.String({ description: 'Address of the picture, relative to this server.' }),
  link: Type.String({
    description:
      'Address of the picture for others, relative to this server: it needs no key, shows nothing else of the job, and may be shown by pages of other sites.',
  }),
  width: Type.Integer(),
  height: Type.Integer(),
  seed: Type.Integer({ description: 'The same request with this seed and a count of 1 makes this picture.' }),
  sha256: Type.String(),
  bytes: Type.Integer(),
  measured: Type.Optional(Measured),
  precision: Type.Optional(
    Type.Enum(['exact'], {
      description:
        "The request asked for int8, from which the worker's processor gains nothing: the picture is exact.",
    }),
  ),
  original: Type.Optional(
    Type.String({
      description:
        'Address of the picture as it was drawn, a PNG, beside a finished one; relative to this server.',
    }),
  ),
})
export type ImageView = Static<typeof ImageView>

export const JobView = Type.Object({
  id: Type.String(),
  status: Type.Enum(shownStatuses),
  request: Type.Optional(ResolvedRequest),
  notes: Type.Optional(
    Type.Array(Type.String(), {
      description:
        'Sentences for people: what may not turn out as intended, such as words that the model does not know.',
    }),
  ),
  progress: Type.Optional(
    Type.Object(
      { step: Type.Integer(), steps: Type.Integer() },
      { description: 'Completed and total steps over all pictures of the job; only while it runs.' },
    ),
  ),
  preview: Type.Optional(
    Type.Object(
      {
        index: Type.Integer({ description: 'Counts from 1, up to the `previews` of the request.' }),
        url: Type.String({ description: 'Address of the preview, relative to this server.' }),
      },
      { description: 'The newest look at the first picture while it is made; only while the job runs.' },
    ),
  ),
  position: Type.Optional(
    Type.Integer({ description: 'How many jobs are ahead of this one: 0 when it is next or running.' }),
  ),
  eta_seconds: Type.Optional(
    Type.Number({ description: 'Seconds until the job is finished; absent until the speed is measured.' }),
  ),
  poll_after_ms: Type.Optional(
    Type.Integer({ description: 'When to poll again; absent once the status is final.' }),
  ),
  images: Type.Array(ImageView),
  error: Type.Optional(JobError),
  created_at: Type.String(),
  started_at: Type.Optional(Type.String()),
  finished_at: Type.Optional(Type.String()),
  expires_at: Type.String({ description: 'When the job and its pictures are deleted.' }),
  links: Type.Object({ self: Type.String() }),
})
export type JobView = Static<typeof JobView>

/** Whether this job can no longer change. */
export function isFinal(view: JobView): boolean {
  return view.status !== 'queued' && view.status !== 'running'
}

export interface AnswerDeps {
  readonly ids: JobIds
  readonly images: ImageStore
  readonly status: StatusStore
  readonly ttlSeconds: number
  readonly now: () => Date
  readonly log: Log
}

/** @param owner the caller's name. Rejects `not_found` for an id that was never issued to it, `expired` and `deleted` for one whose results are gone. */
export async function viewJob(deps: AnswerDeps, id: string, owner?: string): Promise<JobView> {
  deps.ids.verify(id, owner)
  return viewVerified(deps, id)
}

/** The same for an id that was verified, or comes from a link to a picture. */
export async function viewVerified(deps: AnswerDeps, id: string): Promise<JobView> {
  return view(deps, id, deps.status.doubtful)
}

/**
 * As `viewJob`, for what needs the end of the job, such as a picture. Whoever asks for it has seen the end, perhaps at a
 * server that was in doubt while this one is not: the manifest is always looked for.
 */
export async function viewEnded(deps: AnswerDeps, id: string, owner?: string): Promise<JobView> {
  deps.ids.verify(id, owner)
  return viewEndedVerified(deps, id)
}

/** The same for an id that comes from a link to a picture. */
export async function viewEndedVerified(deps: AnswerDeps, id: string): Promise<JobView> {
  return view(deps, id, () => true)
}

/** @param doubtful asked after the state was read */
async function view(deps: AnswerDeps, id: string, doubtful: () => boolean): Promise<JobView> {
  const state = await bestEffort(deps.log, 'reading a status', deps.status.get(id), 'debug')
  const waiting = state !== undefined && isWaiting(state, deps.now())
  if (waiting && !doubtful()) return waitingView(deps, state)
  const manifest = await findManifest(deps, id)
  if (manifest !== undefined && waiting) {
    const repair = deps.status.advance(id, endOf(manifest))
    await bestEffort(deps.log, 'writing an end that the status store missed', repair)
  }
  if (manifest !== undefined) return viewOfManifest(deps, manifest)
  if (waiting) return waitingView(deps, state)
  if (state?.status === 'canceled' && Date.parse(state.expires_at) > deps.now().getTime()) {
    return viewOfCanceled(state)
  }
  if (state !== undefined || hasExpired(id, deps.ttlSeconds, deps.now())) throw expired(id)
  const issued = deps.ids.issuedAt(id)
  const expires_at = expiryOf(issued.toISOString(), deps.ttlSeconds)
  // a job of a catalogue run has a time to come
  const created_at = new Date(Math.min(issued.getTime(), deps.now().getTime())).toISOString()
  return waitingView(deps, { id, status: 'queued', created_at, expires_at })
}

/** Whether a state is that of a job that is not final, as far as the status store knows. */
export function isWaiting({ status, expires_at }: JobState, now: Date): boolean {
  return (status === 'queued' || status === 'running') && Date.parse(expires_at) > now.getTime()
}

/** The manifest of a job, undefined if there is none yet; rejects `deleted`, and `expired` after its expiry, swept or not. */
export async function findManifest(
  deps: Pick<AnswerDeps, 'images' | 'now'>,
  id: string,
): Promise<Manifest | undefined> {
  const manifest = await deps.images.getManifest(id)
  if (manifest !== undefined && Date.parse(manifest.expires_at) <= deps.now().getTime()) throw expired(id)
  if (manifest?.deleted_at !== undefined) {
    throw new AppError('deleted', `Job ${id} was deleted on ${manifest.deleted_at}, with its pictures.`, {
      param: 'id',
    })
  }
  return manifest
}

/** A job that was canceled before a worker had it. */
export function viewOfCanceled({ id, request, created_at, expires_at }: JobState): JobView {
  return {
    id,
    status: 'canceled',
    request,
    images: [],
    created_at,
    expires_at,
    links: { self: addressOf(id) },
  }
}

/** A job that no worker had in time, for its webhook: to clients it is gone. */
export function viewOfExpired(
  job: Pick<JobState, 'id' | 'created_at' | 'expires_at'> & Partial<JobState>,
): JobView {
  const { id, request, created_at, expires_at } = job
  return {
    id,
    status: 'failed',
    ...(request === undefined ? {} : { request }),
    images: [],
    error: { code: 'expired', message: 'The job expired before a worker took it.' },
    created_at,
    expires_at,
    links: { self: addressOf(id) },
  }
}

export function viewOfManifest({ ids }: Pick<AnswerDeps, 'ids'>, manifest: Manifest): JobView {
  const { id, status, request, created_at, started_at, finished_at, expires_at, error } = manifest
  return {
    id,
    status,
    request,
    images: manifest.images.map(({ index, original, ...image }) => ({
      url: `${addressOf(id)}/images/${index}`,
      link: `/v1/pictures/${ids.pictures.issue(id, index)}`,
      ...image,
      ...(original === undefined ? {} : { original: `${addressOf(id)}/images/${index}/original` }),
    })),
    created_at,
    ...(started_at === undefined ? {} : { started_at }),
    finished_at,
    expires_at,
    ...(error === undefined ? {} : { error }),
    links: { self: addressOf(id) },
  }
}

const noLoad: Load = { workers: 0, secondsPerUnit: undefined }

type Waiting = Pick<JobState, 'id' | 'status' | 'created_at' | 'expires_at'> & Partial<JobState>

/** A job that is not known to be final. Never rejects: what the status store does not provide is omitted. */
export async function waitingView(deps: AnswerDeps, state: Waiting): Promise<JobView> {
  const { id, request, units: ofJob, created_at, started_at, progress, preview } = state
  const running = state.status === 'running'
  const known = <T>(what: string, action: Promise<T>) => bestEffort(deps.log, what, action, 'debug')
  const [ahead, load = noLoad] = await Promise.all([
    running ? undefined : known('reading the place of a job', deps.status.ahead(id)),
    known('reading the load', deps.status.load()),
  ])
  const units =
    request === undefined
      ? undefined
      : (ahead?.units ?? 0) / Math.max(1, load.workers) +
        remainingUnits({ request, ...(ofJob === undefined ? {} : { units: ofJob }) }, progress)
  const seconds = estimateSeconds(units, load)
  const waited = (deps.now().getTime() - Date.parse(created_at)) / 1000
  return {
    id,
    status: running ? 'running' : 'queued',
    ...(request === undefined ? {} : { request }),
    ...(running && progress !== undefined ? { progress } : {}),
    ...(running && preview !== undefined ? { preview: previewOf(id, preview) } : {}),
    ...(request === undefined ? {} : { position: ahead?.jobs ?? 0 }),
    ...(seconds === undefined ? {} : { eta_seconds: seconds }),
    poll_after_ms: pollAfterMs(waited, seconds),
    images: [],
    created_at,
    ...(started_at === undefined ? {} : { started_at }),
    expires_at: state.expires_at,
    links: { self: addressOf(id) },
  }
}

/** A page shows each anew: its address has the index. */
function previewOf(id: string, index: number): NonNullable<JobView['preview']> {
  return { index, url: `${addressOf(id)}/preview?index=${index}` }
}

function addressOf(id: string): string {
  return `/v1/jobs/${id}`
}

function expired(id: string): AppError {
  return new AppError('expired', `The results of job ${id} have expired.`, {
    param: 'id',
  })
}
