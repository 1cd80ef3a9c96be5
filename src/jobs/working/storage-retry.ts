import { type AppError, toAppError } from '../errors.ts'
import { type Backoff, retry } from '../retry.ts'

/**
 * Patience with storage. A picture took minutes to make: it is kept and offered again while storage is away,
 * within a budget, before the task is given back.
 */

export interface StorageRetry extends Backoff {
  readonly budgetMs: number
}

export const defaultStorageRetry: StorageRetry = {
  budgetMs: 60_000,
  firstMs: 200,
  longestMs: 10_000,
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
