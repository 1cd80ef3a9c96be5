import type { Caller } from './caller.ts'
import type { ImageFormat } from './fields.ts'
import {
  type JobError,
  type JobEvent,
  type JobState,
  type JobStatus,
  type Manifest,
  type Progress,
  type ResolvedRequest,
  stepsOf,
  type Task,
} from './job.ts'

/**
 * What the service needs of the outside world. Each port has one contract suite in test/contract that every
 * adapter passes, the embedded ones included.
 *
 * Every method rejects with an `AppError`: `unavailable` when the outside thing does not answer,
 * `storage_full` when it has no room.
 */

/**
 * One task in the hands of one worker. Exactly one of the four endings is called, once, unless it is lost: then they do
 * nothing.
 */
export interface Delivery {
  /** The message as it came: it may be damaged or foreign; the worker validates it. */
  readonly message: unknown
  /** 1 for the first try, raised by `retry`. */
  readonly attempt: number
  /** How often this attempt was delivered before and not ended: its worker died, or lost its connection. */
  readonly losses: number
  /** Aborted when the delivery is lost (lease expired, connection gone): what is made now must not be ended. */
  readonly lost: AbortSignal
  /** The task is done for good. */
  ack(): Promise<void>
  /** The attempt failed; deliver again after the delay, with `attempt` raised and `losses` at 0. */
  retry(delayMs: number): Promise<void>
  /** The worker stops, or storage is away: deliver again (after the delay), with nothing counted. */
  giveBack(delayMs?: number): Promise<void>
  /** The message can never be worked on: park it where a person can look at it. */
  dead(reason: string): Promise<void>
}

export interface Consumer {
  /** Takes nothing further; resolves when the handler of the current task or event has ended. */
  stop(): Promise<void>
}

/** A task that no worker gets any more, though none of them ended it. */
export interface DeadTask {
  /** The message as it came, which may be no task at all. */
  readonly message: unknown
  readonly reason: string
}

/**
 * Tasks from servers to workers, at least once. Interactive tasks go before batch ones; within a class they go in
 * order of acceptance apart from retries.
 */
export interface TaskQueue {
  /**
   * Resolves when the task is durable: it then survives any crash. Rejects `queue_full` when the bound is
   * reached, of all tasks or of those of its priority (a few that are published at the same moment may still pass),
   * `unavailable` when it is not known to be
   * durable. A task published twice may be delivered twice.
   */
  publish(task: Task): Promise<void>
  /**
   * Delivers one task at a time, and takes none while the handler works; a task whose worker dies is delivered
   * again. A handler never rejects. Goes on by itself after the queue was away.
   */
  consume(handler: (delivery: Delivery) => Promise<void>): Promise<Consumer>
  /** How many tasks wait; those in work may be counted or not. */
  depth(): Promise<number>
  /**
   * Hands over the tasks that the queue itself gave up, or that were called `dead`; afterwards each stays parked for
   * a person to look at. A handler that rejects gets the task again later. A queue that never gives up delivers none.
   */
  consumeDead(handler: (dead: DeadTask) => Promise<void>): Promise<Consumer>
  /**
   * Takes back a task that no worker has, to save the work; one in a worker's hands stays. A queue that cannot take
   * back leaves it: the worker that gets it finds that the job is final.
   */
  withdraw(id: string): Promise<void>
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

export interface StateUpdate {
  readonly status: JobStatus
  readonly progress?: Progress
  readonly started_at?: string
  readonly error?: JobError
}

/** How busy the installation is. */
export interface Load {
  /** Workers heard of lately. */
  readonly workers: number
  /** Measured seconds for one step of one picture of one megapixel; undefined until one was measured. */
  readonly secondsPerUnit: number | undefined
}

/** Fast, forgetful knowledge of jobs. Nothing that must not be lost is kept here alone. */
export interface StatusStore {
  /** Remembers a new job as queued. An id that is known already stays as it is. */
  create(task: Task): Promise<void>
  get(id: string): Promise<JobState | undefined>
  /**
   * Asked after `get`: true while the store may have missed the end of a job, because it was unavailable. An
   * unfinished state is then no proof that the job is unfinished. Always false for a store that cannot be unavailable.
   */
  doubtful(): boolean
  /** Moves a job forward in one atomic step; an update to a lower rank, or of an unknown id, changes nothing. */
  advance(id: string, update: StateUpdate): Promise<void>
  /** Marks a job so that a worker stops it. Works before `create` too: the mark is kept for an hour at least. */
  requestCancel(id: string): Promise<void>
  /**
   * Queued and running jobs that are made before this one, and about how much work is left in them (see
   * `workUnits`); undefined if it does not wait.
   */
  ahead(id: string): Promise<{ jobs: number; units: number } | undefined>
  /** A worker says that it lives, and how fast it last was. */
  heartbeat(worker: string, secondsPerUnit: number | undefined): Promise<void>
  load(): Promise<Load>
  /**
   * True for one of the callers that ask for the same name within `forMs`: work that one server of many should do.
   * A store of a single server may remember it in memory.
   */
  turn(name: string, forMs: number): Promise<boolean>
  /** Forgets what is long past its expiry; nothing to do in a store whose entries expire by themselves. */
  sweep(now: Date): Promise<void>
  close(): Promise<void>
}

/** Pictures, manifests and uploads, until they expire. */
export interface ImageStore {
  /** The whole picture or nothing; an attempt repeated overwrites it. */
  putImage(id: string, index: number, format: ImageFormat, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getImage(id: string, index: number, format: ImageFormat): Promise<Uint8Array | undefined>
  /**
   * An address from which a client can fetch the picture for `seconds`; undefined from a store that clients cannot
   * reach. Whether the picture exists is not checked.
   */
  addressOf(id: string, index: number, format: ImageFormat, seconds: number): Promise<string | undefined>
  /** Writes the manifest unless there is one; answers the one that is now there. This is the commit of a job. */
  commit(manifest: Manifest): Promise<Manifest>
  getManifest(id: string): Promise<Manifest | undefined>
  /** Keeps an uploaded picture under its upload id (see `serving/upload.ts`). The whole picture or nothing. */
  putUpload(id: string, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getUpload(id: string): Promise<Uint8Array | undefined>
  /**
   * Deletes what expired before `now`, and leavings of broken writes; answers how many jobs it removed. Uploads are
   * deleted when no job can wait for them any more (`uploadIsOver`). What cannot be deleted keeps nothing else from it.
   */
  sweep(now: Date): Promise<number>
}

/** How many jobs and uploads each caller may submit: `caller.limits.rate`, counted by `caller.account`. */
export interface RateLimiter {
  /**
   * Counts one job of this caller and answers 0; or counts nothing and answers in how many whole seconds there is
   * room. Always 0 for a caller without such a limit.
   */
  take(caller: Caller): Promise<number>
}

export interface GeneratedImage {
  /** The encoded file. */
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
  readonly seed: number
}

/** The uploaded pictures that a request names, as they are stored: PNG files. */
export interface GivenImages {
  readonly init: Uint8Array
  readonly mask?: Uint8Array
}

/** What an upload may be. */
export interface UploadLimits {
  /** Of the file. */
  readonly bytes: number
  /** Of the picture, width times height. */
  readonly pixels: number
  /** A picture is made smaller until its shorter side is no longer than this: no picture made here needs more. */
  readonly side: number
}

/** Reads pictures that come from outside. Both methods reject `invalid_upload` with a sentence for the user. */
export interface PictureReader {
  /**
   * Reads a PNG, JPEG or WebP file of one picture, turns it as its camera says, drops whatever is not pixels, and
   * answers it as a PNG of 8 bits a channel: RGB, or RGBA where something is transparent. The size is looked at
   * before a pixel is decoded.
   */
  normalise(
    bytes: Uint8Array,
    limits: UploadLimits,
  ): Promise<{ png: Uint8Array; width: number; height: number }>
  /**
   * A stored picture in another size: scaled to cover it, and the rest cut off evenly. `picture` answers 3 bytes
   * (RGB) a pixel, on white where it is transparent. `mask` answers one byte a pixel, 255 where it is to be repainted
   * and 0 where it is kept: the transparent part is repainted, or of a mask without transparency the white part.
   */
  fit(
    png: Uint8Array,
    width: number,
    height: number,
    kind: 'picture' | 'mask',
  ): Promise<{ pixels: Uint8Array; width: number; height: number }>
}

export interface GenerateOptions {
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
  /** There when the request has an `init_image`. */
  readonly images?: GivenImages
}

/** Makes pictures. Runs off the event loop of its caller. */
export interface ImageGenerator {
  /**
   * Makes the `count` pictures of a request in order; picture n has the seed `imageSeed(request, n)`. Rejects with
   * the signal's reason soon after `signal` aborts (at the next step). Rejects with an `AppError` otherwise:
   * `out_of_memory`, `model_invalid`, `invalid_upload`, `generation_failed`.
   */
  generate(request: ResolvedRequest, options: GenerateOptions): AsyncIterable<GeneratedImage>
  close(): Promise<void>
}

/** Pictures x steps x megapixels: what the speed of a worker and the ETA of a job are measured in. */
export function workUnits(request: ResolvedRequest): number {
  return (request.count * stepsOf(request) * request.width * request.height) / 1e6
}
