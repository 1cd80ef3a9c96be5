import { setTimeout as sleep } from 'node:timers/promises'

/** Retrying: how long to pause, and the one loop that does it. */

/** Pauses in milliseconds: the first, doubled for each further failure, up to the longest. */
export interface Backoff {
  readonly firstMs: number
  readonly longestMs: number
}

/** A random pause between 0 and `ms`: spreads out clients that failed together. */
export function jitter(ms: number): number {
  return Math.random() * ms
}

/** The pause after so many failures (1 for the first), in milliseconds, without jitter. */
export function doubled({ firstMs, longestMs }: Backoff, failures: number): number {
  return Math.min(longestMs, firstMs * 2 ** Math.max(0, failures - 1))
}

/** The same with full jitter, and at least half of the first pause: a peer that fails at once is not asked in a tight loop. */
export function pauseAfter(backoff: Backoff, failures: number): number {
  return backoff.firstMs / 2 + jitter(doubled(backoff, failures))
}

export interface RetryOptions extends Backoff {
  /**
   * Called after each failure, before the pause. If it throws, retrying ends: so the caller decides which faults
   * are permanent, and what a fault becomes.
   */
  readonly onFailure: (
    thrown: unknown,
    retry: { readonly failures: number; readonly pauseMs: number },
  ) => void
  /** Ends the pauses: `retry` rejects with its reason. */
  readonly signal?: AbortSignal
}

/** Repeats the action until it succeeds, `onFailure` throws, or the signal aborts. */
export async function retry<T>(action: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, onFailure } = options
  for (let failures = 1; ; failures += 1) {
    signal?.throwIfAborted()
    try {
      return await action()
    } catch (thrown) {
      const pauseMs = pauseAfter(options, failures)
      onFailure(thrown, { failures, pauseMs })
      await pause(pauseMs, signal)
    }
  }
}

/** Repeats an action of a store that may be slow for a moment: up to four times within some seconds. */
export async function retryBriefly<T>(action: () => Promise<T>): Promise<T> {
  const onFailure = (thrown: unknown, { failures }: { failures: number }) => {
    if (failures >= 4) throw thrown
  }
  return retry(action, { firstMs: 500, longestMs: 1500, onFailure })
}

/** Rejects with the signal's own reason when it aborts, not with the `AbortError` of the timer. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (aborted) {
    throw signal?.aborted ? signal.reason : aborted
  }
}
