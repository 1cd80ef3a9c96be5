import { type Caller, type Credentials, requireScope, type Scope } from '../jobs/caller.ts'
import type { Catalogues } from '../jobs/catalogue/catalogues.ts'
import { toAppError } from '../jobs/errors.ts'
import type { RequestLimits } from '../jobs/fields.ts'
import type { Holdings } from '../jobs/holdings.ts'
import { bestEffort } from '../jobs/log.ts'
import type { Offer } from '../jobs/offer.ts'
import type { RateLimiter, StoredFile, UploadLimits } from '../jobs/ports.ts'
import type { Preview } from '../jobs/previews.ts'
import { type CancelDeps, cancelJob } from '../jobs/serving/cancel.ts'
import { deleteJob } from '../jobs/serving/delete.ts'
import {
  acceptGranted,
  checkUploadGrant,
  type GrantedUpload,
  grantFollowing,
  grantUpload,
  openFollowing,
  type SentForGrant,
} from '../jobs/serving/grants.ts'
import { type JobView, viewEnded, viewJob } from '../jobs/serving/job-view.ts'
import { createKept, type KeptDeps, type KeptPictures } from '../jobs/serving/kept.ts'
import { type JobList, type ListRequest, listJobs } from '../jobs/serving/list.ts'
import { newestPreview } from '../jobs/serving/newest-preview.ts'
import { withNotes } from '../jobs/serving/notes.ts'
import {
  getLinked,
  getOriginal,
  getPicture,
  locateLinked,
  locatePicture,
  type PictureAddress,
  type PictureFile,
} from '../jobs/serving/picture.ts'
import { checkRate } from '../jobs/serving/rate.ts'
import type { Recogniser, SignedIn } from '../jobs/serving/recognise.ts'
import { refinishJob } from '../jobs/serving/refinish.ts'
import { type Policy, policiesOf } from '../jobs/serving/room.ts'
import { stopJob } from '../jobs/serving/stop.ts'
import { type SubmitDeps, type SubmitOptions, submitJob } from '../jobs/serving/submit.ts'
import {
  getLinkedThumbnail,
  getThumbnail,
  type Thumbnail,
  type ThumbnailSide,
} from '../jobs/serving/thumbnail.ts'
import {
  acceptUpload,
  deleteUpload,
  findUpload,
  type Upload,
  type UploadDeps,
} from '../jobs/serving/upload.ts'
import type { JobWatch } from '../jobs/serving/wait.ts'
import { resendWebhookOf, type WebhookCallDeps, webhookLogOf } from '../jobs/serving/webhooks/of-job.ts'
import { createWorkspaces, type Workspaces, type WorkspacesDeps } from '../jobs/serving/workspace.ts'
import type { WebhookLog } from '../jobs/webhook.ts'

/**
 * What the HTTP side (API and page) may ask of the service.
 *
 * Every method rejects with an `AppError` and with nothing else; `http/status.ts` says which HTTP status each
 * code has. An `invalid_request` carries `faults`: one sentence for each invalid field.
 */
export interface Services {
  /**
   * Checks and accepts a request (any value: it is validated here). When it resolves, the job is durable.
   * A repeated `idempotencyKey` returns the job of the first call. Rejects `invalid_request`, `queue_full`,
   * `unavailable`, `storage_full`, `forbidden`, `rate_limited`.
   */
  submit(body: unknown, options: SubmitOptions): Promise<JobView>
  /**
   * Finishes a picture of a job again: a job of its own that draws nothing. Rejects like `submit` and `view`, and `not_ready`
   * until the job succeeded.
   */
  refinish(id: string, body: unknown, options: SubmitOptions): Promise<JobView>
  /** Rejects `not_found` for an id never issued (of whatever shape), `expired` for one whose results are gone. */
  view(id: string, caller: Caller): Promise<JobView>
  /**
   * The job once it is final, or as it stands after `ms`, when `signal` aborts, or at once if too many wait. Rejects
   * like `view`.
   */
  untilFinal(
    id: string,
    caller: Caller,
    options: { readonly ms: number; readonly signal: AbortSignal },
  ): Promise<JobView>
  /**
   * The job as it is, then after each change of status, progress, preview or place in the queue, last the final view.
   * A slow reader gets the newest state only. Ends early when `signal` aborts or the server stops. The first read
   * rejects like `view`, and `unavailable` or `rate_limited` if too many follow; a later one if the job is deleted or
   * expires, and `unauthorized` when the caller's key counts no longer. Read it to its end, or call `return`.
   */
  follow(
    id: string,
    caller: Caller,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<JobView, void, undefined>
  /** The newest preview of a job that runs; undefined if there is none. Rejects like `view`. */
  preview(id: string, caller: Caller): Promise<Preview | undefined>
  /**
   * The caller's jobs, newest first, from the status store. Rejects `forbidden` for an anonymous caller,
   * `invalid_request`, `unavailable`.
   */
  list(caller: Caller, request: ListRequest): Promise<JobList>
  /** Picture `index` of a job; rejects like `view`, and `not_ready` until the job succeeded. */
  image(id: string, index: number, caller: Caller): Promise<PictureFile>
  /** The picture as it was drawn, beside a finished one. Rejects like `image`, `not_found` where there is none. */
  original(id: string, index: number, caller: Caller): Promise<PictureFile>
  /** The same as `image`, or an address from which the client can fetch it, if there is one. */
  imageOrAddress(id: string, index: number, caller: Caller): Promise<PictureFile | PictureAddress>
  /** The picture in small. Rejects like `image`. */
  thumbnail(id: string, index: number, side: ThumbnailSide, caller: Caller): Promise<Thumbnail>
  /** The same of a link. Rejects like `linkedImage`. */
  linkedThumbnail(link: string, side: ThumbnailSide): Promise<Thumbnail>
  /** The picture of a link, which needs no caller. Rejects `not_found`, `expired`, `deleted`. */
  linkedImage(link: string): Promise<PictureFile | PictureAddress>
  /** The same, but always the file. */
  linkedFile(link: string): Promise<PictureFile>
  /**
   * Stops a queued or running job; a final job stays unchanged. Idempotent. Rejects like `view`. With `keep` a running job ends
   * with the pictures that are done, a moment after the answer; rejects `unavailable` too.
   */
  cancel(id: string, caller: Caller, options?: { readonly keep?: boolean }): Promise<JobView>
  /** The same, but deletes a final job with its pictures and prompts. Idempotent. */
  remove(id: string, caller: Caller): Promise<JobView>
  /**
   * Stores a picture that jobs may start from. Rejects `unsupported_media_type`, `body_too_large`, `invalid_upload`,
   * `forbidden`, `rate_limited`, `unavailable`, `storage_full`.
   */
  upload(body: Uint8Array, options: { readonly type: string; readonly caller: Caller }): Promise<Upload>
  /** Deletes an upload. Rejects `not_found` for an id never issued. Idempotent. */
  removeUpload(id: string, caller: Caller): Promise<void>
  /** The PNG of an upload. Rejects `not_found` for an id never issued, `expired`; opening it rejects `deleted`. */
  uploaded(id: string, caller: Caller): Promise<{ open(): Promise<StoredFile>; expires_at: string }>
  /** The tries of a job's webhook. Rejects like `view`, and `not_found` while there is none. */
  webhookLog(id: string, caller: Caller): Promise<WebhookLog>
  /** Sends it again. Rejects like `view`, `not_ready` until the job is final, `invalid_request` if it has none, `rate_limited`. */
  resendWebhook(id: string, caller: Caller): Promise<WebhookLog>
  /** What this caller's receivers check signatures with: `whsec_` and base64. Rejects `forbidden`. */
  webhookSecret(caller: Caller): Promise<string>
  /**
   * Keeps a small text of the caller under a name for so many seconds, in place of what is there. It may be lost earlier,
   * or not be kept at all: what is kept so only saves work or remembers a choice. Never rejects.
   */
  note(caller: Caller, name: string, text: string, seconds: number): Promise<void>
  /** What `note` kept for the caller; undefined if there is nothing. Never rejects. */
  noted(caller: Caller, name: string): Promise<string | undefined>
  /** What lets whoever has it follow a job, without a key. */
  followingGrant(id: string, caller: Caller): string
  /** The job of such a grant, and whom it belongs to. Throws `not_found`. */
  followingGranted(grant: string, client: Caller): { readonly id: string; readonly caller: Caller }
  /** The id of an upload to come, and what lets one picture be sent for it. Rejects `forbidden`, `rate_limited`. */
  uploadGrant(caller: Caller): Promise<GrantedUpload>
  /** Throws `not_found` for what was not granted: to refuse a body before it is read. */
  checkUploadGrant(granted: GrantedUpload): void
  /** Stores the picture of such a grant; one that is there stays. Rejects `not_found`, and like `upload`. */
  uploadGranted(sent: SentForGrant, body: Uint8Array): Promise<void>
  /** Counts a request of any kind; rejects `rate_limited`. */
  count(caller: Caller): Promise<void>
  /**
   * The caller of a request, from its address and what it sends to be recognised. Rejects `unauthorized`, and
   * `rate_limited` for an address that fails too often.
   */
  caller(from: Credentials): Caller | Promise<Caller>
  /** The limits that jobs and uploads of a caller count against, with what is left. Never rejects. */
  policies(caller: Caller): Promise<readonly Policy[]>
  /** Exchanges a key for the session of a browser; rejects like `caller`. Absent: callers have no keys. */
  signIn?(key: string, address: string): Promise<SignedIn>
  /** Catalogue runs. Absent: this server has none. */
  readonly catalogues?: Catalogues
  /** Pictures that are kept for good. */
  readonly kept: KeptPictures
  /** What the page remembers of a person. */
  readonly workspaces: Workspaces
  /** What can be requested now. */
  offer(): Offer
  readonly limits: RequestLimits
  readonly uploadLimits: UploadLimits
  /** What the worker beside this server has in memory. Optional: absent in a server without a worker. */
  holdings?(): Holdings | undefined
  /** How much work there is, and the workers for it. Rejects `unavailable` when the queue does not answer. */
  load(): Promise<{ waiting: number; workers: number; secondsPerUnit: number | undefined }>
  /** How busy the service is; at most two seconds old, and undefined if the status store does not answer. */
  busy(): Promise<Busy | undefined>
  /** False while the service starts or drains: no new traffic should come here. */
  ready(): boolean
}

/** The jobs core as the HTTP side sees it. */
/** What every page shows of the work of all callers. */
interface Busy {
  /** Jobs. */
  readonly running: number
  readonly waiting: number
  /** Absent: not known. */
  readonly workers?: number
  readonly secondsPerUnit?: number
}

export function createServices(
  deps: SubmitDeps &
    CancelDeps &
    UploadDeps &
    KeptDeps &
    WebhookCallDeps &
    Omit<WorkspacesDeps, 'view'> &
    Pick<Services, 'holdings' | 'caller' | 'signIn' | 'catalogues'> & {
      /** Absent: callers have no keys. */
      readonly current?: Recogniser['current']
      readonly watch: JobWatch
      readonly requests: RateLimiter
    },
  ready: () => boolean,
): Services {
  const { holdings, signIn, catalogues } = deps
  const asAppError = async <T>(action: Promise<T>): Promise<T> => {
    try {
      return await action
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  // nobody reads another's notes, and the store learns neither names nor addresses
  const noteName = ({ account }: Caller, name: string) => `${deps.ids.accountTag(account)}:${name}`
  /** Notes are added once for all who follow a job: they get the same object. */
  const seen = new WeakMap<JobView, JobView>()
  async function* notedEach(views: AsyncIterable<JobView>) {
    try {
      for await (const view of views) {
        const once = seen.get(view) ?? withNotes(view, deps.offer())
        seen.set(view, once)
        yield once
      }
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  const noted = async (view: Promise<JobView>) => withNotes(await view, deps.offer())
  /** For a caller that has the scope, with its name: what it may see is its own. */
  const by = <T>(scope: Scope, caller: Caller, action: (owner: string) => T | Promise<T>) =>
    asAppError(
      Promise.try(() => {
        requireScope(caller, scope)
        return action(caller.name)
      }),
    )
  const view: Services['view'] = (id, caller) =>
    by('jobs:read', caller, (owner) => noted(viewJob(deps, id, owner)))
  return {
    submit: (body, options) => asAppError(noted(submitJob(deps, body, options))),
    refinish: (id, body, options) =>
      by('jobs:write', options.caller, async (owner) =>
        noted(refinishJob(deps, await viewEnded(deps, id, owner), body, options)),
      ),
    view,
    untilFinal: (id, caller, options) =>
      by('jobs:read', caller, (owner) => noted(deps.watch.untilFinal(id, { ...options, owner }))),
    follow: (id, caller, { signal }) => {
      requireScope(caller, 'jobs:read')
      const { name: owner, account } = caller
      const allowed = () => deps.current?.(caller)?.scopes.has('jobs:read') ?? deps.current === undefined
      return notedEach(deps.watch.follow(id, { owner, account, signal, allowed }))
    },
    preview: (id, caller) => by('jobs:read', caller, (owner) => newestPreview(deps, id, owner)),
    list: (caller, request) => by('jobs:read', caller, () => listJobs(deps, caller, request)),
    image: (id, index, caller) => by('jobs:read', caller, (owner) => getPicture(deps, id, index, owner)),
    original: (id, index, caller) => by('jobs:read', caller, (owner) => getOriginal(deps, id, index, owner)),
    imageOrAddress: (id, index, caller) =>
      by('jobs:read', caller, (owner) => locatePicture(deps, id, index, owner)),
    thumbnail: (id, index, side, caller) =>
      by('jobs:read', caller, (owner) => getThumbnail(deps, id, index, { side, owner })),
    linkedThumbnail: (link, side) => asAppError(getLinkedThumbnail(deps, link, side)),
    linkedImage: (link) => asAppError(locateLinked(deps, link)),
    linkedFile: (link) => asAppError(getLinked(deps, link)),
    cancel: (id, caller, { keep = false } = {}) =>
      by('jobs:cancel', caller, (owner) => noted((keep ? stopJob : cancelJob)(deps, id, owner))),
    remove: (id, caller) => by('jobs:cancel', caller, (owner) => noted(deleteJob(deps, id, owner))),
    upload: (body, options) => asAppError(acceptUpload(deps, body, options)),
    removeUpload: (id, caller) => asAppError(deleteUpload(deps, id, caller)),
    uploaded: (id, caller) => by('uploads', caller, (owner) => findUpload(deps, id, owner)),
    webhookLog: (id, caller) => by('webhooks', caller, () => webhookLogOf(deps, id, caller)),
    resendWebhook: (id, caller) => by('webhooks', caller, () => resendWebhookOf(deps, id, caller)),
    webhookSecret: (caller) => by('webhooks', caller, () => deps.webhooks.secretOf(caller)),
    note: async (caller, name, text, seconds) => {
      await bestEffort(deps.log, 'keeping a note', deps.status.note(noteName(caller, name), text, seconds))
    },
    noted: (caller, name) =>
      bestEffort(deps.log, 'reading a note', deps.status.noted(noteName(caller, name))),
    followingGrant: (id, caller) => grantFollowing(deps, id, caller),
    followingGranted: (grant, client) => openFollowing(deps, grant, client),
    uploadGrant: (caller) => asAppError(grantUpload(deps, caller)),
    checkUploadGrant: (granted) => void checkUploadGrant(deps, granted),
    uploadGranted: (sent, body) => asAppError(acceptGranted(deps, sent, body)),
    load: () => asAppError(loadOf(deps)),
    busy: busyOf(deps),
    count: (caller) => asAppError(checkRate(deps.requests, caller, 'requests')),
    caller: (from) => asAppError(Promise.try(() => deps.caller(from))),
    ...(signIn === undefined
      ? {}
      : { signIn: (key: string, address: string) => asAppError(signIn(key, address)) }),
    policies: (caller) => policiesOf(deps, caller),
    kept: createKept(deps),
    workspaces: createWorkspaces({ ...deps, view }),
    offer: () => deps.offer(),
    limits: deps.limits,
    uploadLimits: deps.uploadLimits,
    ...(holdings === undefined ? {} : { holdings }),
    ...(catalogues === undefined ? {} : { catalogues }),
    ready,
  }
}

/** With the status store unavailable no workers are known. */
async function loadOf({ queue, status, log }: SubmitDeps) {
  const [waiting, load] = await Promise.all([
    queue.depth(),
    bestEffort(log, 'reading the load', status.load(), 'debug'),
  ])
  return { waiting, workers: load?.workers ?? 0, secondsPerUnit: load?.secondsPerUnit }
}

const sharedForMs = 2000

/** Read once for all who look within two seconds: every page shows it. */
function busyOf({ status, log }: Pick<SubmitDeps, 'status' | 'log'>): Services['busy'] {
  let [readAt, last] = [Number.NEGATIVE_INFINITY, Promise.resolve(undefined) as ReturnType<Services['busy']>]
  const read = async () => {
    const [backlog, load] = await Promise.all([
      bestEffort(log, 'reading how much waits', status.backlog(), 'debug'),
      bestEffort(log, 'reading the load', status.load(), 'debug'),
    ])
    if (backlog === undefined) return undefined
    const { interactive, batch } = backlog
    const running = interactive.running + batch.running
    const waiting = Math.max(0, interactive.jobs + batch.jobs - running)
    const { secondsPerUnit, workers } = load ?? {}
    return {
      running,
      waiting,
      ...(workers === undefined ? {} : { workers }),
      ...(secondsPerUnit === undefined ? {} : { secondsPerUnit }),
    }
  }
  return () => {
    if (performance.now() - readAt < sharedForMs) return last
    readAt = performance.now()
    last = read()
    return last
  }
}
