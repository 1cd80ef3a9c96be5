import { setTimeout as sleep } from 'node:timers/promises'
import { type AppError, toAppError } from '../errors.ts'
import { jitter } from '../jitter.ts'

/**
 * Patience with storage. A picture took minutes to make: it is kept and offered again while storage is away,
 * within a budget, before the task is given back. Pauses have full jitter, so that many workers do not come back
 * at once.
 */

export interface StorageRetry {
  readonly budgetMs: number
  readonly firstPauseMs: number
  readonly longestPauseMs: number
}

export const defaultStorageRetry: StorageRetry = {
  budgetMs: 60_000,
  firstPauseMs: 200,
  longestPauseMs: 10_000,
}

/** Storage stayed away for the whole budget. The task is no worse for it: the attempt does not count. */
export class StorageAway extends Error {
  override readonly name = 'StorageAway'
  constructor(cause: AppError) {
    super(cause.message, { cause })
  }
}

/** Rejects `StorageAway` when the budget is spent, with the signal's reason when it aborts during a pause. */
export async function withStorageRetry<T>(
  settings: StorageRetry,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  const end = performance.now() + settings.budgetMs
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await action()
    } catch (thrown) {
      const pause = jitter(Math.min(settings.longestPauseMs, settings.firstPauseMs * 2 ** attempt))
      if (performance.now() + pause > end) throw new StorageAway(toAppError(thrown))
      await sleep(pause, undefined, { signal }).catch((aborted: unknown) => {
        throw signal.aborted ? signal.reason : aborted
      })
    }
  }
}
