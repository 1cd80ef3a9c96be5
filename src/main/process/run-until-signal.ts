import type { Logger } from 'pino'
import { openLogOutput } from '../../adapters/log/log-output.ts'
import { explain, operatorMessage } from '../../cli/run-command.ts'
import { ConfigError, readStorageSecrets } from '../../config.ts'
import { noReports, type Reports } from '../../jobs/reports.ts'
import { endWithReport } from '../observed/telemetry.ts'
import { onLossOfCommand, startedByNpm } from './started-by.ts'

/** A started service. */
export interface Running {
  /** What it is, and where. */
  readonly banner: string
  readonly log: Logger
  /** Absent: nobody. */
  readonly reports?: Reports
  /** Lets the current job finish within the configured time, then closes everything. */
  stop(): Promise<void>
  /** Kills what would outlive this process. */
  kill(): void
}

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
/** Ctrl-C, and a stop by systemd, reach npm and this process; npm then passes on its own. */
const sameSignalMs = 1000

/**
 * Starts the service and runs until SIGTERM, SIGINT or SIGHUP, or until the npm that started it, or its shell, is gone. The first
 * signal drains, a second one exits at once: running jobs are then run again after the next start. A signal during
 * startup exits at once too: nothing was accepted yet, and the first process of a container would not even receive it
 * without a handler. A failed start prints a message and exits with status 1; an unhandled error logs a line and exits
 * with status 1, because it leaves an unknown state.
 */
export async function runUntilSignal(start: () => Promise<Running>): Promise<void> {
  // files of jobs are for this user only, whoever creates them: SQLite, too
  process.umask(0o077)
  prepareEnvironment(process.env)
  const out = openLogOutput(1)
  const npm = startedByNpm()
  let running: Running | undefined
  let signaled = 0
  let signaledAt = Number.NEGATIVE_INFINITY
  const onSignal = async () => {
    if (npm && performance.now() - signaledAt < sameSignalMs) return
    signaledAt = performance.now()
    signaled += 1
    if (running === undefined) {
      out.write('Packshot is stopping before it was ready.\n')
      process.exit(0)
    }
    if (signaled > 1) {
      running.kill()
      process.exit(1)
    }
    out.write('Packshot is stopping: the current job may finish. Signal again to stop at once.\n')
    await running.stop()
    process.exit(0)
  }
  for (const signal of signals) process.on(signal, onSignal)
  if (npm) {
    onLossOfCommand(() => {
      if (signaled === 0) void onSignal()
    })
  }

  try {
    running = await start()
  } catch (thrown) {
    openLogOutput(2).write(`${startFault(thrown)}\n`)
    process.exit(1)
  }
  const { log, kill, banner, reports = noReports } = running
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'an unhandled error ends this process')
    kill()
    endWithReport(reports, err, () => process.exit(1))
  })
  out.write(`Packshot is ready: ${banner}\n`)
}

/**
 * For the library of the storage, which reads its variables itself: an empty value counts as not set, and its secrets may
 * be in files.
 */
export function prepareEnvironment(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(env)) if (name.startsWith('AWS_') && env[name] === '') delete env[name]
  readStorageSecrets(env)
}

/** Faults that a person can fix are reported as sentences; only a bug shows its stack. */
function startFault(thrown: unknown): string {
  if (thrown instanceof ConfigError)
    return `Packshot cannot start:\n${thrown.faults.map((fault) => `  ${fault}`).join('\n')}`
  // an error made during startup is a sentence for users
  const own = thrown instanceof Error && thrown.cause !== undefined
  return `Packshot cannot start: ${own ? operatorMessage(thrown) : explain(thrown)}`
}
