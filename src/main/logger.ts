import { type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

/**
 * JSON lines on stdout, errors with their causes. `part` says which process wrote a line. Each line is written before
 * the call returns: a process that then kills itself would otherwise lose the line that says why.
 *
 * Who has the id of a job may read, cancel and delete it, so no line has a whole id: its first part identifies the job.
 */
export function createLogger(config: Config, part: 'server' | 'worker'): Logger {
  return pino(
    {
      level: config.logLevel,
      base: { part, pid: process.pid },
      hooks: { streamWrite: withoutTags },
    },
    pino.destination({ dest: 1, sync: true }),
  )
}

/** The ids of jobs and uploads in a text, without their signatures. */
function withoutTags(line: string): string {
  return line.replace(/\b([0-7][0-9a-hjkmnp-tv-z]{25})[0-9a-hjkmnp-tv-z]{16}(?![0-9a-z])/g, '$1')
}
