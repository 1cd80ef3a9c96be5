import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { ownCleanup } from '../cleanup.ts'
import { leashed } from './daemon.ts'
import { keepProcess } from './keeper.ts'
import { provideEnvironment } from './provide.ts'

/**
 * `node test/services/run.ts -- COMMAND...` runs a command with real services under it: started once, named to it in
 * TEST_QUEUE_URL, TEST_STATUS_URL, TEST_STORAGE_URL, TEST_S3_ENDPOINT and the AWS_ variables, and ended after it. Ends
 * with the command's status, or 128 plus the number of the signal that ended it.
 */
async function main(command: readonly string[]): Promise<number> {
  const cleanup = ownCleanup()
  try {
    const env = await provideEnvironment(cleanup)
    return await runCommand(command, env)
  } finally {
    await cleanup.end()
  }
}

function runCommand(command: readonly string[], env: Record<string, string>): Promise<number> {
  const [first = '', ...rest] = command
  const [file, args] = leashed(first, rest)
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: 'inherit' })
  keepProcess(child)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => void child.kill(signal))
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (status, signal) => resolve(status ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}

const separator = process.argv.indexOf('--', 2)
const command = separator === -1 ? [] : process.argv.slice(separator + 1)
if (command.length === 0) {
  console.error('usage: node test/services/run.ts -- COMMAND...')
  process.exitCode = 2
} else {
  try {
    process.exitCode = await main(command)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
