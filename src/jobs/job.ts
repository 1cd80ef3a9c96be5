import { type Static, Type } from 'typebox'
import { decidedFields, type Priority, priorities } from './fields.ts'
import { Measured } from './finish.ts'
import { mostPreviews, promptPreviews } from './preview-count.ts'

/**
 * The terms of the service, and the state machine of a job.
 *
 * - request: what a user asks for. Resolved, every field has a value (`ResolvedRequest`), the seed included, so
 *   that every attempt at a job makes the same picture.
 * - job: a request that was accepted (answered 202). It has an id and ends in exactly one final state.
 * - task: the message that carries a job to a worker. attempt: one worker's try at it.
 * - event: the message that reports the outcome of a job.
 * - manifest: the object written last for a job. It is the commit: a job is final when its manifest exists, and
 *   the first manifest written wins.
 * - state: what the status store holds about a job. It is a cache: if it is wiped, every answer is still right.
 *
 *   queued ──> running ──> succeeded | failed | canceled        (manifest written: final)
 *      └───────────────────────────────┘        └──> expired    (results deleted after their time)
 *
 * A state only moves to a higher rank. A lost attempt (worker killed) leaves the state at `running`; the job
 * itself is delivered again.
 */

export const finalStatuses = ['succeeded', 'failed', 'canceled'] as const
type FinalStatus = (typeof finalStatuses)[number]
export type JobStatus = 'queued' | 'running' | FinalStatus | 'expired'

/** A state never moves to an equal or lower rank, except that `running` may update its own progress. */
export const statusRank: Record<JobStatus, number> = {
  queued: 0,
  running: 1,
  succeeded: 2,
  failed: 2,
  canceled: 2,
  expired: 3,
}

/**
 * A request with every field decided. Sizes in pixels; `seed` is that of the first picture, picture n has seed + n.
 *
 * The optional fields are omitted at their defaults: no `vae` is the model's own, no `loras` is none, no
 * `clip_skip` is 1 (the last layer of the text encoder). So a request that was written before these fields
 * existed is equal to the same request now. `init_image` and `mask` are upload ids; with the first there is a
 * `strength`. The prompt no longer has any `<lora:...>`.
 */
export const ResolvedRequest = Type.Object(decidedFields, { additionalProperties: false })
export type ResolvedRequest = Static<typeof ResolvedRequest>

/** The newest version that this release supports. */
export const taskVersion = 7

/** Fields that a worker of version 5 does not know. */
const newestFields = ['precision'] as const satisfies readonly (keyof ResolvedRequest)[]

/** Fields that a worker of version 4 does not know. */
const newFields = [
  'finish',
  'gate',
  'eta',
  'timesteps',
  'guidance_end',
  'pace',
  'keep',
  'upscaler',
  'hires',
  'decoder',
] as const satisfies readonly (keyof ResolvedRequest)[]

/** The lowest version that can express the request, so that workers of the previous release take what they can. */
export function versionOf(request: ResolvedRequest): 2 | 3 | 4 | 5 | 6 | typeof taskVersion {
  const { format, loras = [], strength, finish } = request
  if (strength === 0 && finish === undefined) return taskVersion
  if (newestFields.some((name) => request[name] !== undefined)) return 6
  if (newFields.some((name) => request[name] !== undefined)) return 5
  if (loras.some(({ text_strength }) => text_strength !== undefined)) return 4
  return format === 'png' ? 2 : 3
}

/** Where the outcome of a job is sent. */
export const Webhook = Type.Object({
  url: Type.String(),
  /** In whose format: that of the API in which the job was requested. Absent: our own. */
  form: Type.Optional(Type.String()),
  /** The address of this service for the receiver, without a slash at its end: links in the body begin with it. */
  base: Type.String(),
})
export type Webhook = Static<typeof Webhook>

/** What is kept of a task as long as its job is known. */
const keptFields = {
  /** The request as it was sent, as a hash; only for a job with an idempotency key. */
  sent: Type.Optional(Type.String()),
  /** The name of the caller it belongs to; absent: `anonymous`. */
  caller: Type.Optional(Type.String()),
  webhook: Type.Optional(Webhook),
}
export const Kept = Type.Object(keptFields)
export type Kept = Static<typeof Kept>

export function keptOf({ sent, caller, webhook }: Kept): Kept {
  return {
    ...(sent === undefined ? {} : { sent }),
    ...(caller === undefined ? {} : { caller }),
    ...(webhook === undefined ? {} : { webhook }),
  }
}

/**
 * Times on the wire are ISO 8601 in UTC. `v` rises when an older worker would make a different picture than was
 * requested; a field that it may ignore is added without a rise. An absent priority is `interactive`.
 */
export const Task = Type.Object({
  /**
   * 1 had no weights in prompts, one sampler, and none of the optional fields of a request; 2 had PNG only; 3 had one
   * strength for each LoRA; 4 drew pictures and delivered them as they were; 5 drew all of them exactly; 6 refused a
   * product that is only cut out.
   */
  v: Type.Union([
    Type.Literal(1),
    Type.Literal(2),
    Type.Literal(3),
    Type.Literal(4),
    Type.Literal(5),
    Type.Literal(6),
    Type.Literal(taskVersion),
  ]),
  id: Type.String(),
  request: ResolvedRequest,
  priority: Type.Optional(Type.Enum(priorities)),
  /** The trace that the request belongs to: a W3C `traceparent`. */
  trace: Type.Optional(Type.String()),
  ...keptFields,
  /** Under which its use is counted: the same for all jobs of a caller, and no way back to its name or address. */
  account: Type.Optional(Type.String()),
  /** How much work it is, see `work.ts`. */
  units: Type.Optional(Type.Number()),
  /** How often its first picture is shown while it is made; absent: never. */
  previews: Type.Optional(Type.Integer({ minimum: 0, maximum: promptPreviews })),
  /** The same where it is more than `previews` may be, which a worker of version 4 has a bound for. */
  preview_count: Type.Optional(Type.Integer({ minimum: 0, maximum: mostPreviews })),
  created_at: Type.String(),
  /** When the job's results are deleted; working on it after that is pointless. */
  expires_at: Type.String(),
})
export type Task = Static<typeof Task>

/** Why a job failed: a code of the error table and a message fit for the user. */
export const JobError = Type.Object({ code: Type.String(), message: Type.String() })
export type JobError = Static<typeof JobError>

export const ManifestImage = Type.Object({
  index: Type.Integer(),
  width: Type.Integer(),
  height: Type.Integer(),
  seed: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  /** Present if the request has `finish` or `gate`. */
  measured: Type.Optional(Measured),
  /** How it was drawn, if the request asked for another precision, from which the worker's processor gains nothing. */
  precision: Type.Optional(Type.Literal('exact')),
  /** Bytes of the picture as it was drawn, a PNG that is kept beside a finished one. */
  original: Type.Optional(Type.Integer()),
})
export type ManifestImage = Static<typeof ManifestImage>

/** `images` is empty unless the status is `succeeded`; `error` is present only if it is `failed`. */
export const Manifest = Type.Object({
  v: Type.Literal(1),
  id: Type.String(),
  status: Type.Enum(finalStatuses),
  request: ResolvedRequest,
  images: Type.Array(ManifestImage),
  error: Type.Optional(JobError),
  attempts: Type.Integer(),
  ...keptFields,
  /** Present in a tombstone: what remains of a job that was deleted, without prompts and pictures. */
  deleted_at: Type.Optional(Type.String()),
  created_at: Type.String(),
  started_at: Type.Optional(Type.String()),
  finished_at: Type.String(),
  expires_at: Type.String(),
})
export type Manifest = Static<typeof Manifest>

/**
 * Reports to the servers that a job became final, or expired before a worker had it. Repeated deliveries are normal;
 * `id` and `status` identify it.
 */
export const JobEvent = Type.Object({
  v: Type.Literal(1),
  id: Type.String(),
  status: Type.Enum([...finalStatuses, 'expired']),
  error: Type.Optional(JobError),
  at: Type.String(),
  /** Those of the task. */
  caller: Type.Optional(Type.String()),
  trace: Type.Optional(Type.String()),
  /** That of the task, for a job that expired: it has no manifest. */
  webhook: Type.Optional(Webhook),
})
export type JobEvent = Static<typeof JobEvent>

/** The event of a final job. `trace` is that of its task, if known. */
export function eventOf(manifest: Manifest, trace?: string): JobEvent {
  const { id, status, error, finished_at, caller } = manifest
  return {
    v: 1,
    id,
    status,
    at: finished_at,
    ...(error === undefined ? {} : { error }),
    ...(caller === undefined ? {} : { caller }),
    ...(trace === undefined ? {} : { trace }),
  }
}

/** What the status store is told of a final job. */
export function endOf({ status, error }: Manifest): Pick<Manifest, 'status' | 'error'> {
  return { status, ...(error === undefined ? {} : { error }) }
}

/** Completed and total steps over all pictures of the job. */
export interface Progress {
  readonly step: number
  readonly steps: number
}

/** What the status store holds for a job. */
export interface JobState extends Kept {
  readonly id: string
  readonly status: JobStatus
  readonly request: ResolvedRequest
  readonly created_at: string
  readonly expires_at: string
  /** Those of the task. */
  readonly priority?: Priority
  readonly account?: string
  readonly units?: number
  readonly started_at?: string
  readonly progress?: Progress
  /** The newest preview that was kept (`serving/preview.ts`), counted from 1. */
  readonly preview?: number
  readonly error?: JobError
  /** Set by a cancellation that has not reached the worker yet. */
  readonly cancel_requested?: boolean
}
