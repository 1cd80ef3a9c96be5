import { type AppError, toAppError } from '../errors.ts'
import { type Backoff, retry } from '../retry.ts'

/**
 * Retries for storage. A picture took minutes to make: while storage is unavailable it is kept and the write retried,
 * within a budget, before the task is returned to the queue.
 */

export interface StorageRetry extends Backoff {
  readonly budgetMs: number
}

export const defaultStorageRetry: StorageRetry = {
  budgetMs: 60_000,
  firstMs: 200,
  longestMs: 10_000,
}

/** Storage stayed unavailable for the whole budget. The attempt does not count. */
export class StorageAway extends Error {
  override readonly name = 'StorageAway'
  constructor(cause: AppError) {
    super(cause.message, { cause })
  }
}

/** Rejects `StorageAway` when the budget is spent, with the signal's reason when it aborts during a pause. */
export async function withStorageRetry<T>(
  { budgetMs, ...backoff }: StorageRetry,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  const end = performance.now() + budgetMs
  const onFailure = (thrown: unknown, { pauseMs }: { pauseMs: number }) => {
    if (performance.now() + pauseMs > end) throw new StorageAway(toAppError(thrown))
  }
  return retry(action, { ...backoff, signal, onFailure })
}
