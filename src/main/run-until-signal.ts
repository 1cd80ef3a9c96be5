import type { Logger } from 'pino'
import { explain } from '../cli/run-command.ts'
import { ConfigError } from '../config.ts'

/** A service that was started. */
export interface Running {
  /** What it is, and where. */
  readonly banner: string
  readonly log: Logger
  /** Lets the job in work end within the configured time, then closes everything. */
  stop(): Promise<void>
  /** Ends what would keep running after this process. */
  kill(): void
}

/**
 * Starts the service and stays until SIGTERM or SIGINT. The first signal drains, a second one ends at once: jobs in
 * work are then made again at the next start. One that comes during the start ends at once, too: nothing was accepted
 * yet, and the first process of a container would not even hear it without a handler. A start that fails is told in words and ends with status 1, a fault that
 * nobody handled with a line in the log and status 1: what state it left is not known.
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

function startFault(thrown: unknown): string {
  if (thrown instanceof ConfigError)
    return `Packshot cannot start:\n${thrown.faults.map((fault) => `  ${fault}`).join('\n')}`
  // what a start turned into an error of its own is a sentence for users
  const own = thrown instanceof Error && thrown.cause !== undefined
  return `Packshot cannot start: ${own ? thrown.message : explain(thrown)}`
}
