import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import { ConfigError } from '../config.ts'
import { CheckpointError, ProviderError } from '../diffusion/errors.ts'
import { noTelemetry } from '../diffusion/runtime/telemetry.ts'
import { AppError } from '../jobs/errors.ts'
import { DownloadError } from '../library/download/addresses.ts'

/** The command was called wrongly. The usage is printed after the message, if there is one. */
export class UsageError extends Error {}

/**
 * Runs a command. A fault that the user can fix is printed as a sentence; only an unexpected one shows its stack.
 * Output that cannot be written is such a fault; a reader that has gone, as in `| head`, is none.
 * @param action resolves with the exit status
 * @returns the exit status; 1 for any fault
 */
export async function runCommand(
  usage: string,
  action: () => Promise<number>,
  complain: (text: string) => void = (text) => console.error(text),
): Promise<number> {
  Object.assign(process.env, noTelemetry)
  let unwritten: NodeJS.ErrnoException | undefined
  const onError = (fault: NodeJS.ErrnoException) => {
    if (fault.code !== 'EPIPE') unwritten ??= fault
  }
  process.stdout.on('error', onError)
  try {
    const status = await action()
    // a stream reports its faults a moment later
    await setImmediate()
    if (unwritten === undefined) return status
    complain(`The output cannot be written: ${unwritten.message}.`)
    return 1
  } catch (thrown) {
    complain(isUsageFault(thrown) ? [thrown.message, usage].filter(Boolean).join('\n\n') : explain(thrown))
    return 1
  } finally {
    process.stdout.off('error', onError)
  }
}

/**
 * Ends this process with a command's status when nothing is left to do. A Node that ends by itself frees its environment first, and was seen
 * to spin there for ever (24.21, `Environment::CleanupHandles`; nodejs/node#47748 is alike); `process.exit` leaves that out.
 */
export async function endWith(status: Promise<number>): Promise<void> {
  process.exitCode = await status
  process.once('beforeExit', () => process.exit())
}

/** For the operator: with paths. */
export function operatorMessage(error: Error): string {
  return (error instanceof AppError ? error.detail : undefined) ?? error.message
}

/** The sentence of a fault that the user can fix; for any other fault, all details. */
export function explain(thrown: unknown): string {
  return isExpected(thrown) ? operatorMessage(thrown) : inspect(thrown)
}

function isUsageFault(thrown: unknown): thrown is Error {
  if (thrown instanceof UsageError) return true
  return thrown instanceof TypeError && 'code' in thrown && String(thrown.code).startsWith('ERR_PARSE_ARGS')
}

/** Errors whose messages are written for users; those of the system name the file or address. */
function isExpected(thrown: unknown): thrown is Error {
  if (thrown instanceof AppError) return thrown.code !== 'internal'
  return (
    thrown instanceof ConfigError ||
    thrown instanceof CheckpointError ||
    thrown instanceof ProviderError ||
    thrown instanceof DownloadError ||
    (thrown instanceof Error && 'syscall' in thrown)
  )
}
