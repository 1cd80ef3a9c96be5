import { createHash } from 'node:crypto'
import { AppError } from '../../jobs/errors.ts'
import type { Reply } from './dial.ts'

/** A Lua script and the name that Redis keeps it under. */
export interface Script {
  readonly text: string
  readonly sha: string
}

export function defineScript(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Redis loses scripts when it restarts (NOSCRIPT); the text is then sent again, which stores it. */
export async function scriptCommand(
  command: (...args: string[]) => Promise<Reply>,
  script: Script,
  keys: readonly string[],
  args: readonly string[],
): Promise<Reply> {
  const rest = [String(keys.length), ...keys, ...args]
  try {
    return await command('EVALSHA', script.sha, ...rest)
  } catch (error) {
    if (!isForgotten(error)) throw error
    return command('EVAL', script.text, ...rest)
  }
}

/** Whether a command was rejected because Redis does not have its script: an answer, not a fault. */
export function isForgotten(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : undefined
  return cause instanceof Error && cause.message.startsWith('NOSCRIPT')
}
