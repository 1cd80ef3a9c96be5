import { type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

/**
 * JSON lines on stdout, errors with their causes. `part` says which process wrote a line. Each line is written before
 * the call returns: a process that then kills itself would otherwise lose the line that says why.
 */
export function createLogger(config: Config, part: 'server' | 'worker'): Logger {
  return pino(
    { level: config.logLevel, base: { part, pid: process.pid } },
    pino.destination({ dest: 1, sync: true }),
  )
}
