import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ownEnvironment } from '../kit/own-environment.ts'

/**
 * Stops and removes what a process started, even if that process is killed with -9. A helper process in its own
 * session holds a pipe to the starter; when the pipe closes it kills the registered processes that were not withdrawn,
 * each with its group (nginx leaves its workers behind), and then removes the folders. It never kills by name.
 */
let told: Writable | undefined

export function keepProcess(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  tell(`process ${pid}`)
  // an id that was free again could belong to a stranger
  child.once('exit', () => tell(`ended ${pid}`))
}

export function keepFolder(folder: string): void {
  tell(`folder ${folder}`)
}

/** A container that is not a child of ours: `docker rm -f` ends it. */
export function keepContainer(id: string): void {
  tell(`container ${id}`)
}

function tell(line: string): void {
  told ??= startKeeper()
  told.write(`${line}\n`)
}

function startKeeper(): Writable {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
    // in a test's environment it would take itself for a test file
    env: ownEnvironment(),
  })
  child.unref()
  const pipe = child.stdin
  // without a keeper the tests still run; only what a kill -9 leaves behind would stay
  pipe.on('error', (error) => console.error(`the keeper of the test services ended early: ${error.message}`))
  if ('unref' in pipe && typeof pipe.unref === 'function') pipe.unref()
  return pipe
}

async function keep(): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  const kept = { process: new Set<string>(), folder: new Set<string>(), container: new Set<string>() }
  for await (const line of createInterface({ input: process.stdin })) {
    const [kind = '', value = ''] = [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]
    if (kind === 'ended') kept.process.delete(value)
    else if (kind === 'process' || kind === 'folder' || kind === 'container') kept[kind].add(value)
  }
  const pids = [...kept.process].map(Number)
  for (const pid of pids) if (!signalTo(-pid, 'SIGKILL')) signalTo(pid, 'SIGKILL')
  // where nothing reaps zombies they stay visible forever, so the wait is bounded
  for (let round = 0; round < 50 && pids.some((pid) => signalTo(pid, 0)); round += 1) await sleep(100)
  for (const folder of kept.folder) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  if (kept.container.size > 0) spawn('docker', ['rm', '-f', ...kept.container], { stdio: 'ignore' })
}

/** False when there is no such process. */
function signalTo(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

if (import.meta.main) await keep()
