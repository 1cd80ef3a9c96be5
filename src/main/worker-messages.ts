import type { Holdings } from '../jobs/holdings.ts'

/** What the server process and its worker process say to each other. */

export type ToWorker = {
  readonly type: 'stop'
  /** How long the job in work may go on. */
  readonly finishMs: number
}

export type FromWorker =
  | { readonly type: 'ready' }
  /** What it has in memory now. */
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  /** The model cannot be loaded; the process ends after this. */
  | { readonly type: 'unusable'; readonly code: string; readonly message: string }
