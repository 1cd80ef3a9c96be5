import type { Logger } from 'pino'
import { explain, operatorMessage } from '../cli/run-command.ts'
import { ConfigError } from '../config.ts'

/** A started service. */
export interface Running {
  /** What it is, and where. */
  readonly banner: string
  readonly log: Logger
  /** Lets the current job finish within the configured time, then closes everything. */
  stop(): Promise<void>
  /** Kills what would outlive this process. */
  kill(): void
}

/**
 * Starts the service and runs until SIGTERM or SIGINT. The first signal drains, a second one exits at once: running
 * jobs are then run again after the next start. A signal during startup exits at once too: nothing was accepted yet,
 * and the first process of a container would not even receive it without a handler. A failed start prints a message
 * and exits with status 1; an unhandled error logs a line and exits with status 1, because it leaves an unknown state.
 */
export async function runUntilSignal(start: () => Promise<Running>): Promise<void> {
  let running: Running | undefined
  let signals = 0
  const onSignal = async () => {
    signals += 1
    if (running === undefined) {
      console.log('Packshot is stopping before it was ready.')
      process.exit(0)
    }
    if (signals > 1) {
      running.kill()
      process.exit(1)
    }
    console.log('Packshot is stopping: the current job may finish. Signal again to stop at once.')
    await running.stop()
    process.exit(0)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)

  try {
    running = await start()
  } catch (thrown) {
    console.error(startFault(thrown))
    process.exit(1)
  }
  const { log, kill, banner } = running
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'an unhandled error ends this process')
    kill()
    process.exit(1)
  })
  console.log(`Packshot is ready: ${banner}`)
}

/** Faults that a person can fix are reported as sentences; only a bug shows its stack. */
function startFault(thrown: unknown): string {
  if (thrown instanceof ConfigError)
    return `Packshot cannot start:\n${thrown.faults.map((fault) => `  ${fault}`).join('\n')}`
  // an error made during startup is a sentence for users
  const own = thrown instanceof Error && thrown.cause !== undefined
  return `Packshot cannot start: ${own ? operatorMessage(thrown) : explain(thrown)}`
}
