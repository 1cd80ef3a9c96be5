/** A checkpoint that cannot be used: missing, truncated, lying about itself, or of an unsupported kind. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}

/** Thrown between two steps after the caller asked to stop. */
export class AbortedError extends Error {
  override readonly name = 'AbortedError'
}

/** None of the wanted providers works on this machine. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
}
