import { type Logger, pino } from 'pino'
import { openLogOutput } from '../../adapters/log/log-output.ts'
import type { Config } from '../../config.ts'
import { withoutSecrets } from '../../jobs/keys.ts'
import { activeFields } from '../../jobs/tracing.ts'

/**
 * JSON lines on stdout, errors with their causes. `part` says which process wrote a line. A log that cannot be written
 * costs lines, never a job: the number of lost lines is logged when it works again.
 *
 * Who has the id of a job may read, cancel and delete it, so no line has a whole id: its first part identifies the job.
 * No line has the secret of a key, whatever it was found in. A line that is written in the work on a request or job has
 * the id of its trace.
 */
export function createLogger(config: Config, part: 'server' | 'worker'): Logger {
  const base = { part, pid: process.pid }
  const output = openLogOutput(1, (lost, reason) => {
    const msg = `${lost} log lines were lost: the log could not be written (${reason})`
    return `${JSON.stringify({ level: 40, time: Date.now(), ...base, lost, reason, msg })}\n`
  })
  return pino(
    {
      level: config.logLevel,
      base,
      mixin: activeFields,
      hooks: { streamWrite: (line) => withoutSecrets(withoutTags(line)) },
    },
    output,
  )
}

/** The ids of jobs and uploads in a text, without their signatures. */
function withoutTags(line: string): string {
  return line.replace(/\b([0-7][0-9a-hjkmnp-tv-z]{25})[0-9a-hjkmnp-tv-z]{16}(?![0-9a-z])/g, '$1')
}
