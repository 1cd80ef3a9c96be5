import { spawnSync } from 'node:child_process'
import { noTelemetry } from '../src/diffusion/runtime/telemetry.ts'
import { withLargePages } from '../src/main/process/large-pages.ts'

/**
 * Runs a compute-heavy program with large memory pages where the system has them: `src/main/process/large-pages.ts`. Replaces
 * this process with the program, so signals, streams and exit status are the program's own.
 *
 *   node scripts/with-large-pages.ts PROGRAM [ARGUMENT...]
 */
const { env, note } = withLargePages({ ...process.env, ...noTelemetry })
if (note !== undefined) console.error(note)
const args = [...process.execArgv, ...process.argv.slice(2)]
if (process.platform === 'win32') {
  process.exitCode = spawnSync(process.execPath, args, { env, stdio: 'inherit' }).status ?? 1
} else {
  process.execve?.(process.execPath, [process.argv0, ...args], env)
}
