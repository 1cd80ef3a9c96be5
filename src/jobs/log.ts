/** Where the service writes what happened: structured fields first, then one sentence. pino meets it as it is. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** For what is kept as a cache only: the fault is written down, and the work goes on without it. */
export async function bestEffort<T>(log: Log, what: string, action: Promise<T>): Promise<T | undefined> {
  try {
    return await action
  } catch (err) {
    log.warn({ err }, `${what} failed; going on without it`)
    return undefined
  }
}
