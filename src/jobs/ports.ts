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

/**
 * What the service needs of the outside world. Each port has one contract suite in test/contract that every
 * adapter passes, the embedded ones included.
 *
 * Every method rejects with an `AppError`: `unavailable` when the outside thing does not answer,
 * `storage_full` when it has no room.
 */

/** One task in the hands of one worker. Exactly one of the four endings is called, once, unless it is lost. */
export interface Delivery {
  /** The message as it came: it may be damaged or foreign; the worker validates it. */
  readonly message: unknown
  /** 1 for the first try; counts tries that ended in a crash too. */
  readonly attempt: number
  /** Aborted when the delivery is lost (lease expired, connection gone): what is made now must not be ended. */
  readonly lost: AbortSignal
  /** The task is done for good. */
  ack(): Promise<void>
  /** The attempt failed; deliver again after the delay, with `attempt` raised. */
  retry(delayMs: number): Promise<void>
  /** The worker stops, or storage is away: deliver again (after the delay), without counting an attempt. */
  giveBack(delayMs?: number): Promise<void>
  /** The message can never be worked on: park it where a person can look at it. */
  dead(reason: string): Promise<void>
}

export interface Consumer {
  /** Takes nothing further; resolves when the handler of the current task or event has ended. */
  stop(): Promise<void>
}

/** Tasks from servers to workers, at least once, in order of acceptance apart from retries. */
export interface TaskQueue {
  /**
   * Resolves when the task is durable: it then survives any crash. Rejects `queue_full` when the bound is
   * reached. Publishing an id that is already waiting changes nothing.
   */
  publish(task: Task): Promise<void>
  /** Delivers one task at a time; a task whose worker dies is delivered again. A handler never rejects. */
  consume(handler: (delivery: Delivery) => Promise<void>): Promise<Consumer>
  /** How many tasks wait or are being worked on. */
  depth(): Promise<number>
  /** Takes back a task that no worker has; one in a worker's hands stays. A queue that cannot do it lacks it. */
  withdraw?(id: string): Promise<void>
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
  /** Moves a job forward in one atomic step; an update to a lower rank, or of an unknown id, changes nothing. */
  advance(id: string, update: StateUpdate): Promise<void>
  /** Marks a job so that a worker stops it. Works before `create` too: the mark is kept for an hour at least. */
  requestCancel(id: string): Promise<void>
  /** Queued and running jobs ahead of this one and the work left in them (see `workUnits`); undefined if it does not wait. */
  ahead(id: string): Promise<{ jobs: number; units: number } | undefined>
  /** A worker says that it lives, and how fast it last was. */
  heartbeat(worker: string, secondsPerUnit: number | undefined): Promise<void>
  load(): Promise<Load>
  /** Forgets what is long past its expiry. A store whose entries expire by themselves lacks it. */
  sweep?(now: Date): Promise<void>
  close(): Promise<void>
}

/** Pictures and manifests, until they expire. */
export interface ImageStore {
  /** The whole picture or nothing; an attempt repeated overwrites it. */
  putImage(id: string, index: number, bytes: Uint8Array): Promise<void>
  /** Undefined when there is none. */
  getImage(id: string, index: number): Promise<Uint8Array | undefined>
  /** Writes the manifest unless there is one; answers the one that is now there. This is the commit of a job. */
  commit(manifest: Manifest): Promise<Manifest>
  getManifest(id: string): Promise<Manifest | undefined>
  /** Deletes what expired before `now`, and leavings of broken writes; answers how many jobs it removed. */
  sweep(now: Date): Promise<number>
}

export interface GeneratedImage {
  /** The encoded file. */
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
  readonly seed: number
}

/** Makes pictures. Runs off the event loop of its caller. */
export interface ImageGenerator {
  /**
   * Makes the `count` pictures of a request in order; picture n has the seed `imageSeed(request, n)`. Rejects with
   * the signal's reason soon after `signal` aborts (at the next step). Rejects with an `AppError` otherwise:
   * `out_of_memory`, `model_invalid`, `generation_failed`.
   */
  generate(
    request: ResolvedRequest,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): AsyncIterable<GeneratedImage>
  close(): Promise<void>
}

/** What this installation offers: the limits and defaults that a request is checked against. */
export interface ModelInfo {
  readonly name: string
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidance_scale: number
  /** Width and height are multiples of this. */
  readonly size_multiple: number
  readonly samplers: readonly string[]
  readonly schedules: readonly string[]
}

/** Pictures x steps x megapixels: what the speed of a worker and the ETA of a job are measured in. */
export function workUnits(request: ResolvedRequest): number {
  return (request.count * request.steps * request.width * request.height) / 1e6
}
