import type { Readable } from 'node:stream'
import type { Caller, RateName } from './caller.ts'
import type { ImageFormat, Priority } from './fields.ts'
import type { Measured } from './finish.ts'
import type {
  JobError,
  JobEvent,
  JobState,
  JobStatus,
  Manifest,
  Progress,
  ResolvedRequest,
  Task,
} from './job.ts'
import type { PictureKind } from './stored-names.ts'
import type { WebhookDelivery } from './webhook.ts'

/**
 * What the service needs from the outside world. Each port has one contract suite in test/contract that every
 * adapter passes, the embedded ones included.
 *
 * Every method rejects with an `AppError`: `unavailable` when the external system does not answer,
 * `storage_full` when it has no room.
 *
 * Longer than most files: the ports are read together, and most of it is their promises.
 */

/**
 * One task held by one worker. Exactly one of the four endings is called, once, unless it is lost: then they do
 * nothing.
 */
export interface Delivery {
  /** The message as it came: it may be damaged or foreign; the worker validates it. */
  readonly message: unknown
  /** 1 for the first try, raised by `retry`. */
  readonly attempt: number
  /** How often this attempt was delivered before without being ended: its worker died, or lost its connection. */
  readonly losses: number
  /**
   * Aborted when the delivery is lost (lease expired, connection gone): it must no longer be ended. The reason is a
   * `ConnectionLost` if a connection broke, and not because the worker was too slow.
   */
  readonly lost: AbortSignal
  /** The task is done for good. */
  ack(): Promise<void>
  /** The attempt failed; deliver again after the delay, with `attempt` raised and `losses` at 0. */
  retry(delayMs: number): Promise<void>
  /** The worker stops, or storage is unavailable: deliver again (after the delay), with nothing counted. */
  giveBack(delayMs?: number): Promise<void>
  /** The message can never be processed: park it for a person to look at. */
  dead(reason: string): Promise<void>
}

export interface Consumer {
  /** Takes nothing further; resolves when the handlers of current tasks, or of the current event, have ended. */
  stop(): Promise<void>
}

/** A task that is no longer delivered to any worker, although none ended it. */
export interface DeadTask {
  /** The message as it came, which may not be a task. */
  readonly message: unknown
  readonly reason: string
}

/**
 * Tasks from servers to workers, at least once. Interactive tasks go before batch ones; within a class the accounts are
 * served in turn, and the tasks of one account go in order of acceptance apart from retries.
 */
export interface TaskQueue {
  /**
   * The number of lanes of each class, which are served in turn; the caller of `publish` names one, see
   * `StatusStore.lane`. 1 for a queue whose accounts take turns without lanes.
   */
  readonly lanes: number
  /**
   * Resolves when the task is durable: it then survives any crash. Rejects `queue_full` when the limit is
   * reached, for all tasks or for those of its priority (a few that are published at the same moment may still pass),
   * `idempotency_key_reused` when the queue can tell that it has another request under this id, `unavailable` when the
   * task is not known to be durable. A task published twice may be delivered twice. Without a `lane` (from 0) the
   * queue chooses one by the account's name, which another account may have, too.
   */
  publish(task: Task, options?: { readonly lane?: number }): Promise<void>
  /**
   * Delivers one task at a time, and takes none while the handler works, unless it calls `more`: then the next one is
   * delivered beside it; calls after the first do nothing. A task whose worker dies is delivered again. A handler never
   * rejects. Resumes automatically after an outage of the queue.
   */
  consume(handler: (delivery: Delivery, more: () => void) => Promise<void>): Promise<Consumer>
  /** How many tasks wait; running ones may be included. */
  depth(): Promise<number>
  /** The same for each class. Those that wait for another attempt may be missing. */
  depths(): Promise<Readonly<Record<Priority, number>>>
  /**
   * Hands over the tasks that the queue gave up on, or that were ended with `dead`; afterwards each stays parked for a
   * person to look at. A handler that rejects gets the task again later. A queue that never gives up delivers none.
   */
  consumeDead(handler: (dead: DeadTask) => Promise<void>): Promise<Consumer>
  /** Whether it can remove a task that no worker has. */
  readonly withdraws: boolean
  /**
   * Removes a task that no worker has, to save the work; a task that a worker holds stays. Returns whether it removed
   * it. A queue that cannot leaves it: the worker that gets it finds that the job is final.
   */
  withdraw(id: string): Promise<boolean>
  close(): Promise<void>
}

/** Events from workers to servers, at least once. */
export interface EventQueue {
  /** Resolves when the event is durable. */
  publish(event: JobEvent): Promise<void>
  /** A handler that rejects gets the event again later. */
  consume(handler: (event: JobEvent) => Promise<void>): Promise<Consumer>
  close(): Promise<void>
}

/** What becomes of a delivery after a try: it comes again as it is here, after so long. */
export interface WebhookAgain {
  readonly delivery: WebhookDelivery
  readonly delayMs: number
}

/** Webhooks on their way, at least once, shared by all servers. Each is delivered when it is due, in no order. */
export interface WebhookQueue {
  /**
   * Resolves when the delivery is durable. Rejects `queue_full` while too many wait for their first try, `unavailable`
   * when it is not known to be durable.
   */
  publish(delivery: WebhookDelivery): Promise<void>
  /**
   * Delivers at most `concurrency` at a time, and those of a process that died to others. A handler returns undefined for
   * a delivery that is done with; one that rejects gets it again later. A message that is no delivery is parked.
   */
  consume(
    handler: (delivery: WebhookDelivery) => Promise<WebhookAgain | undefined>,
    options: { readonly concurrency: number },
  ): Promise<Consumer>
  /** How many are on their way; those that are tried at this moment may be missing. */
  depth(): Promise<number>
  close(): Promise<void>
}

interface WebhookRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly signal: AbortSignal
}

export interface WebhookAnswer {
  readonly status: number
  /** The seconds of a `Retry-After` header. */
  readonly retryAfterSeconds?: number
}

/**
 * Sends one message to a receiver that may be anybody's. Follows no redirect, and reads little of the answer. Rejects when
 * there is no answer in time, and for an address that nothing may be sent to; the reason is for the operator.
 */
export type WebhookPost = (url: string, request: WebhookRequest) => Promise<WebhookAnswer>

export interface StateUpdate {
  readonly status: JobStatus
  readonly progress?: Progress
  readonly preview?: number
  readonly started_at?: string
  readonly error?: JobError
}

/** Unfinished jobs of one account, and their work in units. */
export interface Held {
  readonly jobs: number
  readonly units: number
}

/** A job that is about to be published. */
interface Reserved {
  readonly id: string
  readonly account: string
  readonly units: number
}

/** How busy the installation is. */
export interface Load {
  /** Workers with a recent heartbeat. */
  readonly workers: number
  /** Measured seconds for one unit of work (see `work.ts`); undefined before the first measurement. */
  readonly secondsPerUnit: number | undefined
}

/** The unfinished jobs of a class. */
export interface Backlog {
  readonly jobs: number
  /** Of them, those that run. */
  readonly running: number
  /** The work that is left in them. */
  readonly units: number
  /** How long the first of those that wait has waited; 0 if none waits. */
  readonly oldestSeconds: number
}

/** A place in a list of jobs: behind this one. */
export interface ListPlace {
  /** When it was created, in milliseconds since 1970. */
  readonly at: number
  readonly id: string
}

interface ListOptions {
  /** Absent: all. */
  readonly statuses?: readonly JobStatus[]
  readonly after?: ListPlace
  readonly most: number
}

/** A small text in a list (`StatusStore.shelve`). */
export interface ShelfItem {
  readonly id: string
  /** Its place in the list, in milliseconds since 1970. */
  readonly at: number
  readonly text: string
}

/** Fast, volatile state of jobs. Nothing that must not be lost is stored only here. */
export interface StatusStore {
  /** Stores a new job as queued. A known id stays unchanged. Returns what the store now has, in one atomic step. */
  create(task: Task): Promise<JobState>
  get(id: string): Promise<JobState | undefined>
  /**
   * Counts a job among the unfinished ones of its account if they stay within the limits with it, in one atomic step;
   * returns undefined then, else what the account has without it. It counts until it is final, or released.
   */
  reserve(job: Reserved, most: Partial<Held>): Promise<Held | undefined>
  /** The job was not published after all. Must not be called after `create`. */
  release(job: Reserved): Promise<void>
  /**
   * The lane of the next task of an account in a class, from 0. An account with waiting jobs stays in its lane; any other
   * gets the lane with the fewest. The last lane is for accounts with few jobs, so that a new account does not queue
   * behind another's many when every lane has one. Undefined if the store does not assign lanes.
   */
  lane(account: string, priority: Priority, lanes: number): Promise<number | undefined>
  /**
   * Asked after `get`: true while the store may have missed the end of a job, because it was unavailable. An
   * unfinished state may then be out of date. Always false for a store that cannot be unavailable.
   */
  doubtful(): boolean
  /** Moves a job forward in one atomic step; an update to a lower rank, or of an unknown id, changes nothing. */
  advance(id: string, update: StateUpdate): Promise<void>
  /** The jobs that run and wait, in about their order, at most so many. */
  unfinished(most: number): Promise<JobState[]>
  /**
   * The jobs of an account that have not expired, newest first, at most so many; `next` is where the list continues if
   * there may be more. A store may list only the newest 1000 of an account, and only jobs with a `caller`.
   */
  list(
    account: string,
    options: ListOptions,
  ): Promise<{ readonly states: readonly JobState[]; readonly next?: ListPlace }>
  /** Drops what it has about a job, except for its place among the unfinished ones. */
  forget(id: string): Promise<void>
  /** Marks a job so that a worker stops it. Works before `create` too: the mark is kept for at least an hour. */
  requestCancel(id: string): Promise<void>
  /**
   * Number of queued and running jobs ahead of this one, and about how much work is left in them, in units; undefined
   * if it is not waiting.
   */
  ahead(id: string): Promise<{ jobs: number; units: number } | undefined>
  /** A worker reports that it is alive, and its last speed. */
  heartbeat(worker: string, secondsPerUnit: number | undefined): Promise<void>
  load(): Promise<Load>
  /** What waits and runs, of each class. A store that was wiped does not have all. */
  backlog(): Promise<Readonly<Record<Priority, Backlog>>>
  /**
   * True for only one of the calls with the same name within `forMs`: for work that one server of many should do.
   * The store of a single server may keep this in memory.
   */
  turn(name: string, forMs: number): Promise<boolean>
  /** Keeps a small text under a name for so many seconds, in place of what is there. It may be lost earlier. */
  note(name: string, text: string, seconds: number): Promise<void>
  /** What `note` kept; undefined if there is nothing, or its time is over. */
  noted(name: string): Promise<string | undefined>
  /**
   * Puts a small text into a list, in place of the one with the same id, in one atomic step; beyond `most` the oldest
   * are dropped. The list is kept for so many seconds from now on. It may be lost earlier.
   */
  shelve(
    list: string,
    item: ShelfItem,
    keep: { readonly most: number; readonly seconds: number },
  ): Promise<void>
  /** What is in a list, newest first, which is kept for so many seconds from now on. */
  shelved(list: string, seconds: number): Promise<ShelfItem[]>
  /** Takes texts out of a list; a missing one is no fault. */
  unshelve(list: string, ids: readonly string[]): Promise<void>
  /** Deletes entries long past their expiry; does nothing in a store whose entries expire on their own. */
  sweep(now: Date): Promise<void>
  close(): Promise<void>
}

/** A file on its way to a client: in pieces if the store can, so that a client that reads slowly holds no memory. */
export interface StoredFile {
  readonly bytes: number
  readonly body: Readable | Uint8Array
}

/** A picture that is kept for good. */
export interface KeptFiles {
  readonly format: ImageFormat
  readonly picture: Uint8Array
  /** What is known of it. */
  readonly document: Uint8Array
}

export interface KeptEntry {
  readonly id: string
  /** False without a document: it is being stored at this moment, or was left behind by a crash. */
  readonly whole: boolean
  /** When its newest file was stored. */
  readonly at: Date
}

/** Pictures, manifests and uploads, until they expire. A finished picture may have its original beside it. */
export interface ImageStore {
  /** The whole picture or nothing; a repeated attempt overwrites it. */
  putImage(id: string, index: number, format: PictureKind, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getImage(id: string, index: number, format: PictureKind): Promise<Uint8Array | undefined>
  /** The same for an answer to a client. Its body must be read or destroyed. */
  openImage(id: string, index: number, format: PictureKind): Promise<StoredFile | undefined>
  /**
   * An address from which a client can fetch the picture for `seconds`; undefined from a store that clients cannot
   * reach. Whether the picture exists is not checked.
   */
  addressOf(id: string, index: number, format: PictureKind, seconds: number): Promise<string | undefined>
  /** Writes the manifest unless there is one; returns the stored manifest. This is the commit of a job. */
  commit(manifest: Manifest): Promise<Manifest>
  getManifest(id: string): Promise<Manifest | undefined>
  /** Keeps an uploaded picture under its upload id (see `serving/upload.ts`). The whole picture or nothing. */
  putUpload(id: string, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getUpload(id: string): Promise<Uint8Array | undefined>
  /** The same for an answer to a client. Its body must be read or destroyed. */
  openUpload(id: string): Promise<StoredFile | undefined>
  /** The first bytes of an upload, at least 33 (all of a shorter one): what tells the size of a PNG. */
  getUploadHead(id: string): Promise<Uint8Array | undefined>
  /** Deletes an upload; a missing one is no fault. */
  deleteUpload(id: string): Promise<void>
  /**
   * Deletes the pictures of a final job and replaces its manifest by this tombstone, in the order in which a crash
   * between two steps shows a client no more than before. Repeatable.
   */
  purge(tombstone: Manifest, of: Manifest): Promise<void>
  /**
   * Stores a document of a catalogue run under the run's id, in place of one of the same name. The whole document or
   * nothing. Names are of lower-case letters, digits, dots and dashes.
   */
  putRunFile(id: string, name: string, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getRunFile(id: string, name: string): Promise<Uint8Array | undefined>
  /** Deletes these documents of a run; a missing one is no fault. */
  deleteRunFiles(id: string, names: readonly string[]): Promise<void>
  /** Marks a run as open, or no longer. */
  markRun(id: string, open: boolean): Promise<void>
  /** The ids of all runs that are marked as open. */
  openRuns(): Promise<string[]>
  /** The ids of all runs that have a document, the oldest first. */
  allRuns(): Promise<string[]>
  /**
   * Stores a picture that is kept for good, and then its document: with that it is there. In place of one of the same id.
   * Owners are names of callers, ids those of `keptIdOf`. Nothing of it is ever swept.
   */
  putKept(owner: string, id: string, kept: KeptFiles): Promise<void>
  /** The document of a kept picture; undefined when there is none. */
  getKept(owner: string, id: string): Promise<Uint8Array | undefined>
  /** Its file for an answer to a client. Its body must be read or destroyed. */
  openKept(owner: string, id: string, format: ImageFormat): Promise<StoredFile | undefined>
  /** As `addressOf`. */
  keptAddressOf(owner: string, id: string, format: ImageFormat, seconds: number): Promise<string | undefined>
  /** Deletes document and file; a missing one is no fault. */
  deleteKept(owner: string, id: string): Promise<void>
  /** All of an owner, in the order of their ids: that of their jobs. */
  listKept(owner: string): Promise<KeptEntry[]>
  /** Bytes of all uploads and of all results (those that are kept for good included), about. May take long: it counts. */
  measure(): Promise<{ uploads: number; results: number }>
  /** Bytes that can still be written; undefined if the store cannot tell. */
  freeBytes(): Promise<number | undefined>
  /**
   * Deletes what expired before `now`, and remains of interrupted writes; returns how many jobs it removed. Uploads are
   * deleted when no job can still need them (`uploadIsOver`), documents and marks of runs as jobs without a manifest. An entry that cannot be deleted does not stop the rest.
   */
  sweep(now: Date): Promise<number>
}

/**
 * Makes a picture small: a WebP file that fits into a square of `side` pixels. `read` gives the picture when its turn comes;
 * what it rejects with is passed on. Undefined if too many wait, or the file cannot be read.
 */
export type Thumbnailer = (side: number, read: () => Promise<Uint8Array>) => Promise<Uint8Array | undefined>

/** The buckets of each caller: those of `caller.limits`, counted by `caller.account`. */
export interface RateLimiter {
  /**
   * Counts this amount (absent: 1) in a bucket (absent: `rate`) and returns 0; or counts nothing and returns in how many
   * whole seconds there is room. More than the burst counts as the burst. A negative amount is given back. Always 0 for
   * a caller without such a limit.
   */
  take(caller: Caller, name?: RateName, amount?: number): Promise<number>
  /** What is left in a bucket, and in how many seconds one more is there; undefined for a caller without such a limit. */
  room(caller: Caller, name: RateName): Promise<Room | undefined>
}

/** What a bucket has left. */
export interface Room {
  /** Never below 0; not a whole number. */
  readonly left: number
  /** Whole seconds until there is one more than the whole part of `left`; 0 if the bucket is full. */
  readonly seconds: number
}

export interface GeneratedImage {
  /** The encoded file. */
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
  readonly seed: number
  /** Present if the request has `finish` or `gate`. */
  readonly measured?: Measured
  /** `exact`: the request asked for another precision, from which the processor gains nothing. */
  readonly precision?: 'exact'
  /** The picture as it was drawn, a PNG; present if the request has `finish`. */
  readonly original?: Uint8Array
}

/** The uploaded pictures that a request names, as they are stored: PNG files. */
export interface GivenImages {
  readonly init?: Uint8Array
  readonly mask?: Uint8Array
  /** Of `finish`. */
  readonly background?: Uint8Array
}

/** Limits of an upload. */
export interface UploadLimits {
  /** Size of the file. */
  readonly bytes: number
  /** Width times height of the picture. */
  readonly pixels: number
  /** Width and height; the longer side may also have at most eight times the shorter one. */
  readonly longest: number
  /** A picture is scaled down until its width times height is at most this: what a delivered picture can need of it. */
  readonly kept: number
}

/** A picture's pixels, row by row: 3 bytes (RGB) each, and how opaque they are if any is not. */
export interface WholePicture {
  readonly rgb: Uint8Array
  /** 0 to 255; the colours are not multiplied by it. */
  readonly alpha: Uint8Array | undefined
  readonly width: number
  readonly height: number
}

/** Reads pictures that come from outside. All methods reject `invalid_upload` with a sentence for the user, and `unavailable` when too many wait. */
export interface PictureReader {
  /**
   * Reads a PNG, JPEG or WebP file of one picture, rotates it as its metadata says, drops everything but pixels, and
   * returns it as a PNG of 8 bits per channel: RGB, or RGBA if any part is transparent. The size is checked
   * before a pixel is decoded.
   */
  normalise(
    bytes: Uint8Array,
    limits: UploadLimits,
  ): Promise<{ png: Uint8Array; width: number; height: number }>
  /**
   * A stored picture in a different size: scaled to cover it, and the excess cropped evenly. `picture` returns 3 bytes
   * (RGB) per pixel, on white where it is transparent. `mask` returns one byte per pixel, 255 where it is to be
   * repainted and 0 where it is kept: the transparent part is repainted or, without transparency, the white part. `kept`
   * is the opposite of a mask, with everything between: 0 to 255, how much of a pixel is kept.
   */
  fit(
    png: Uint8Array,
    width: number,
    height: number,
    kind: 'picture' | 'mask' | 'kept',
  ): Promise<{ pixels: Uint8Array; width: number; height: number }>
  /** A stored picture at its own size. */
  read(png: Uint8Array): Promise<WholePicture>
}

/** What the engine will make of a prompt. */
interface PromptFacts {
  /** The largest weight of any part, without its sign; NaN or Infinity if the weights multiply to that. */
  readonly weight: number
  /** Windows of 75 tokens: exact if it could be `exactFrom` or more, an estimate below. */
  readonly windows: number
}

/** Reads prompts by the engine's rules. */
export interface PromptReader {
  read(prompt: string, options: { readonly exactFrom: number }): Promise<PromptFacts>
}

/**
 * The parts of the work on a picture, in their order: loading what it needs, its text, its steps, pixels, the file; then
 * it is done.
 */
export type EnginePhase = 'load' | 'text' | 'steps' | 'decode' | 'encode' | 'done'

/** What the engine does when, in milliseconds of Unix time: a part begins, or a step of the job has ended. */
export type EngineMark = { readonly at: number } & (
  | { readonly phase: EnginePhase }
  | { readonly step: number }
)

export interface GenerateOptions {
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
  /** Called in order, soon after each moment. */
  readonly onMark?: (mark: EngineMark) => void
  /** Called once when nothing of the request is left to compute: its last pictures are on their way to the caller. */
  readonly onFree?: () => void
  /** Present when the request names uploads. */
  readonly images?: GivenImages
  /** Looks at the first picture while it is made, about so many: small JPEG files, numbered from 1. */
  readonly previews?: {
    readonly count: number
    readonly onPreview: (preview: { readonly index: number; readonly bytes: Uint8Array }) => void
  }
}

/** Makes pictures. Runs off the event loop of its caller. Several requests at the same time are made side by side. */
export interface ImageGenerator {
  /** How many pictures it draws at the same time, of one request or of several; absent: one. */
  readonly together?: () => number
  /**
   * Makes the `count` pictures of a request in order; picture n has the seed `imageSeed(request, n)`. Rejects with
   * the signal's reason soon after `signal` aborts (at the next step). Rejects with an `AppError` otherwise:
   * `out_of_memory`, `too_large`, `model_invalid`, `invalid_upload`, `generation_failed`.
   */
  generate(request: ResolvedRequest, options: GenerateOptions): AsyncIterable<GeneratedImage>
  close(): Promise<void>
}
