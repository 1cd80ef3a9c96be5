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

const quiet = new WeakMap<Log, Log>()
const againMs = 60_000

/**
 * The same log for what a neighbour or a stranger may cause any number of times: a message is logged once a minute, and
 * then says how often it was left out (`repeated`). Messages are constants: their number is bounded.
 */
export function seldom(log: Log): Log {
  const known = quiet.get(log)
  if (known !== undefined) return known
  const last = new Map<string, { at: number; repeated: number }>()
  const limited = (level: keyof Log) => (fields: object, message: string) => {
    const now = performance.now()
    const before = last.get(message)
    if (before !== undefined && now - before.at < againMs) {
      before.repeated += 1
      return
    }
    const repeated = before?.repeated ?? 0
    last.set(message, { at: now, repeated: 0 })
    log[level](repeated === 0 ? fields : { ...fields, repeated }, message)
  }
  const made: Log = {
    debug: limited('debug'),
    info: limited('info'),
    warn: limited('warn'),
    error: limited('error'),
  }
  quiet.set(log, made)
  return made
}
