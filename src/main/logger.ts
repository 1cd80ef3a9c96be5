import { type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

/** JSON lines on stdout, errors with their causes. `part` says which process wrote a line. */
export function createLogger(config: Config, part: 'server' | 'worker'): Logger {
  return pino({ level: config.logLevel, base: { part, pid: process.pid } })
}
