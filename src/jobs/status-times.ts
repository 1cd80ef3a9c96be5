/** How long a status store remembers, in milliseconds: the same in every adapter. */

/** A state outlives its results by this, so that an expired job is recognised as one. */
export const keptAfterExpiryMs = 2 * 3_600_000
export const cancelKeptMs = 24 * 3_600_000
/** A worker without a heartbeat for this long does not count. */
export const workerSilenceMs = 20_000
