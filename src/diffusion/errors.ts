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

/** A picture that needs more memory than the engine may use: known before anything is computed. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError'

  /** @param needed, available in bytes */
  constructor(needed: number, available: number) {
    const inMiB = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`
    super(
      `The picture needs about ${inMiB(needed)} of memory; a worker may use ${inMiB(available)} for its models.`,
    )
  }
}
