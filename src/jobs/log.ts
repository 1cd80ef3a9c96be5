/** Where the service writes what happened: structured fields first, then one sentence. pino meets it as it is. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * For what is kept as a cache only: the fault is written down, and the work goes on without it. `debug` is for what
 * every poll asks: an adapter says once that its store is away, and a thousand polls need not repeat it.
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
    log[level]({ err }, `${what} failed; going on without it`)
    return undefined
  }
}
