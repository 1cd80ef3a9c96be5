/** A checkpoint that cannot be used: missing, truncated, inconsistent, or of an unsupported kind. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}

/** Thrown between two steps after the caller has asked to stop. */
export class AbortedError extends Error {
  override readonly name = 'AbortedError'
}

/** None of the requested providers works on this machine. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
}
