/** The service's log: structured fields first, then one sentence. pino implements it unchanged. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * For data that is only a cache: the fault is logged, and the work continues without it. `debug` is for what
 * every poll reads: an adapter logs once that its store is unavailable, and a thousand polls need not repeat it.
 */
export async function bestEffort<T>(
  log: Log,
  what: string,
  action: Promise<T>,
  level: 'warn' | 'debug' = 'warn',
): Promise<T | undefined> {
  try {
    return await action
  } catch (err) {
    log[level]({ err }, `${what} failed; continuing without it`)
    return undefined
  }
}
