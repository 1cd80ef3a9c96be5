import type { Config } from '../config.ts'
import type { ErrorCode } from '../jobs/errors.ts'
import type { Holdings } from '../jobs/holdings.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import type { EnginePhase, GivenImages } from '../jobs/ports.ts'
import type { Delivered } from './deliver.ts'

/** What a worker process and its inference thread exchange. A run is a request; several may go on at the same time. */

/** The thread's workerData: what it needs of the configuration, and no secrets. */
export type InferenceSettings = Pick<
  Config,
  | 'model'
  | 'matte'
  | 'modelsDir'
  | 'dataDir'
  | 'providers'
  | 'profile'
  | 'threads'
  | 'batch'
  | 'modelMemoryMb'
  | 'promptWindows'
  | 'pictureSettings'
  | 'finishPixels'
  | 'precision'
>

export function inferenceSettings(config: Config): InferenceSettings {
  const { model, matte, modelsDir, dataDir, providers, profile, threads, batch } = config
  const { modelMemoryMb, promptWindows, pictureSettings, finishPixels, precision } = config
  return {
    model,
    matte,
    modelsDir,
    dataDir,
    providers,
    profile,
    threads,
    batch,
    modelMemoryMb,
    promptWindows,
    pictureSettings,
    finishPixels,
    precision,
  }
}

export interface GenerateMessage {
  readonly run: number
  readonly request: ResolvedRequest
  readonly images?: GivenImages
  /** How many previews of the first picture; absent: none. */
  readonly previews?: number
  /** One Int32: not 0 once the run should stop. Shared, because a busy thread reads no messages. */
  readonly abort: SharedArrayBuffer
}

/** A fault of the thread. */
export interface ThreadFault {
  readonly code: ErrorCode
  /** For everybody. */
  readonly message: string
  /** For the operator in its place, see `AppError.detail`. */
  readonly detail: string | undefined
  /** For the log. */
  readonly stack: string
}

/** What the thread reports about itself at any time, beside its answers to runs. */
export type ThreadNews =
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  /** Which profile was taken for a model, and why. */
  | { readonly type: 'profile'; readonly model: string; readonly profile: string; readonly reason: string }
  /** Whether the processor gains from eight bits, with the figures. */
  | { readonly type: 'eight bits'; readonly gains: boolean; readonly reason: string }
  /** Copies of weights were deleted, because nobody used them for long. */
  | { readonly type: 'unused'; readonly bytes: number }
  /** For the log. */
  | { readonly type: 'warning'; readonly message: string }

export type ThreadMessage =
  | ThreadNews
  /** @property together how many pictures it draws at the same time */
  | { readonly type: 'ready'; readonly together: number }
  | { readonly type: 'unusable'; readonly fault: ThreadFault }
  | RunMessage

/** Of one run. */
export type RunMessage =
  | {
      readonly type: 'progress'
      readonly run: number
      readonly step: number
      readonly steps: number
      /** In milliseconds of Unix time. */
      readonly at: number
    }
  /** A part of the work on a picture begins. */
  | { readonly type: 'phase'; readonly run: number; readonly phase: EnginePhase; readonly at: number }
  | { readonly type: 'preview'; readonly run: number; readonly index: number; readonly bytes: Uint8Array }
  | ({ readonly type: 'image'; readonly run: number } & Delivered)
  | { readonly type: 'done'; readonly run: number }
  | { readonly type: 'failed'; readonly run: number; readonly fault: ThreadFault }
