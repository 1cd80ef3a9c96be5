import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { oneThread, ownEnvironment } from '../kit/own-environment.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilView } from './server-process.ts'

/** The programs as the documents start them. */

const root = join(import.meta.dirname, '../..')

export interface NpmProcess {
  readonly process: ChildProcess
  readonly output: () => string
  /** `worker` for a worker. */
  readonly address: string
  /** Resolves with the exit status, or the signal's name. */
  readonly ended: Promise<number | string>
}

/**
 * Runs a command in a process group of its own, as a terminal and systemd have it, with two minutes for the job in work.
 * Resolves when the program is ready.
 */
export async function startCommand(
  t: Cleanup,
  command: readonly [string, ...string[]],
  env: Record<string, string>,
): Promise<NpmProcess> {
  const [program, ...args] = command
  const child = spawn(program, args, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...ownEnvironment(),
      ...oneThread,
      HOME: tempFolder(t),
      npm_config_update_notifier: 'false',
      NODE_ENV: 'production',
      npm_config_ignore_scripts: 'true',
      PORT: '0',
      PACKSHOT_SHUTDOWN_SECONDS: '120',
      ...env,
    },
  })
  lastFirst(t).after(() => killGroup(child, 'SIGKILL'))
  let text = ''
  const keep = (chunk: Buffer) => {
    text += chunk
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const ended = new Promise<number | string>((done) =>
    child.on('exit', (code, signal) => done(code ?? signal ?? 'unknown')),
  )
  await waitFor(() => {
    if (child.exitCode !== null) throw new Error(text)
    return text.includes('is ready: ')
  })
  return {
    process: child,
    output: () => text,
    address: /is ready: (\S+)/.exec(text)?.[1] ?? '',
    ended,
  }
}

export function killGroup(leader: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(leader.pid ?? 0), signal)
  } catch {
    // it has ended
  }
}

/** Submits a job and resolves with its id when a worker computes it. */
export async function jobInWork(address: string, steps = 12): Promise<string> {
  const { id } = await submit(address, { prompt: 'a red apple', width: 256, height: 256, steps, seed: 1 })
  await untilView(address, id, ({ status, progress }) => status === 'running' && (progress?.step ?? 0) > 0)
  return id
}

/** Whether nobody listens there any more. */
export async function isGone(address: string): Promise<boolean> {
  return fetch(`${address}/healthz/live`).then(
    () => false,
    () => true,
  )
}
