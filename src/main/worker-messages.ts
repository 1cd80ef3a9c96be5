import type { Holdings } from '../jobs/holdings.ts'

/** The messages between the server process and its worker process. */

export type ToWorker = {
  readonly type: 'stop'
  /** How long the current job may continue. */
  readonly finishMs: number
}

export type FromWorker =
  | { readonly type: 'ready' }
  /** What it has in memory now. */
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  /** The model cannot be loaded; the process ends after this. */
  | { readonly type: 'unusable'; readonly code: string; readonly message: string }
