interface CheckpointErrorOptions {
  readonly reason?: string
  readonly subject?: string
  readonly cause?: unknown
}

/**
 * A file that cannot be used: missing, truncated, inconsistent, or of an unsupported kind. The message is for the
 * operator: it names the path and the key at fault.
 */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
  /** For everybody, without paths and keys: the end of the sentence "The LoRA glossy cannot be used: ...". */
  readonly reason: string
  /** For everybody: what the file is called, such as "The LoRA glossy"; undefined if that is unknown here. */
  readonly subject: string | undefined

  constructor(message: string, { reason, subject, cause }: CheckpointErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.reason = reason ?? 'the file is damaged, incomplete or of a form that is not supported'
    this.subject = subject
  }
}

/** An error whose message everybody may read. */
export function saidToAll(reason: string): CheckpointError {
  return new CheckpointError(reason, { reason })
}

/** A file refused for a reason that everybody may read. @param reason a clause without paths and keys */
export function refused(path: string, reason: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`${path}: ${reason}`, { reason, cause })
}

/** What is thrown need not be an Error. */
export function messageOfThrown(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** Opens a file: an error about it says what the file is called. @param subject such as "The LoRA glossy" */
export async function opening<T>(subject: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (thrown) {
    if (!(thrown instanceof CheckpointError) || thrown.subject !== undefined) throw thrown
    throw new CheckpointError(thrown.message, { reason: thrown.reason, subject, cause: thrown })
  }
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

/** A prompt of more windows than the engine was told to allow. */
export class PromptTooLongError extends Error {
  override readonly name = 'PromptTooLongError'
}
