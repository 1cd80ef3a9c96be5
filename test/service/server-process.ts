import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { JobView } from '../../src/jobs/serving/job-view.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { oneThread, ownEnvironment, ownOptions } from '../kit/own-environment.ts'
import { waitFor } from '../kit/waiting.ts'
import { leashed } from '../services/daemon.ts'

/** The whole program as a process of its own, on a free port; the engine is the stand-in by default. */

/** Tests send more than a caller may; those of the limits set their own. */
const noLimits = {
  PACKSHOT_JOBS_PER_MINUTE: '0',
  PACKSHOT_REQUESTS_PER_MINUTE: '0',
  PACKSHOT_UNITS_PER_HOUR: '0',
  PACKSHOT_CALLER_JOBS: '0',
  PACKSHOT_CALLER_UNITS: '0',
  PACKSHOT_FREE_MB: '0',
}

export const standInServer = new URL('../stand-in/server.ts', import.meta.url)
export const realServer = new URL('../../src/main/all-in-one.ts', import.meta.url)

export interface ServerProcess {
  readonly process: ChildProcess
  /** stdout and stderr together. */
  readonly output: () => string
  /** Resolves with the exit status, or the signal's name. */
  readonly ended: Promise<number | string>
  /** The address (`worker` for a worker), once the program reports ready; rejects with the output if it ends before. */
  readonly address: Promise<string>
  /** The process ids of all workers so far, the current one last. */
  workers(): readonly number[]
}

/**
 * @param options of Node; none: the program is loaded from its own files
 * @param args of the program
 */
export function startServer(
  t: Cleanup,
  env: Record<string, string>,
  file: URL = standInServer,
  options: readonly string[] = ownOptions(),
  args: readonly string[] = [],
): ServerProcess {
  const [command, words] = leashed(process.execPath, [...options, fileURLToPath(file), ...args])
  const child = spawn(command, words, {
    env: { ...ownEnvironment(), PORT: '0', ...noLimits, ...oneThread, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  const { promise: address, resolve, reject } = Promise.withResolvers<string>()
  address.catch(() => {})
  const onData = (chunk: Buffer) => {
    text += chunk
    const found = /is ready: (\S+)/.exec(text)?.[1]
    if (found !== undefined) resolve(found)
  }
  child.stdout.on('data', onData)
  child.stderr.on('data', onData)
  const ended = new Promise<number | string>((done) => {
    child.on('close', (code, signal) => {
      done(code ?? signal ?? 'unknown')
      reject(new Error(`the server ended early: ${text}`))
    })
  })
  lastFirst(t).after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    process: child,
    output: () => text,
    ended,
    address,
    workers: () =>
      [...text.matchAll(/"worker":(\d+),"msg":"worker process started"/g)].map((match) => Number(match[1])),
  }
}

export async function submit(address: string, body: object): Promise<JobView> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${address}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(body) })
  if (response.status !== 202) throw new Error(`not accepted: ${await response.text()}`)
  return (await response.json()) as JobView
}

export async function view(address: string, id: string): Promise<JobView> {
  const response = await fetch(`${address}/v1/jobs/${id}`)
  if (response.status !== 200) throw new Error(`no status: ${await response.text()}`)
  return (await response.json()) as JobView
}

/** As a client asks: 503, which a slow Redis may cost, is asked again. Resolves once `done` accepts the answer. */
export async function untilView(
  address: string,
  id: string,
  done: (view: JobView) => boolean,
): Promise<JobView> {
  let last: JobView | undefined
  await waitFor(async () => {
    const response = await fetch(`${address}/v1/jobs/${id}`)
    const text = await response.text()
    if (response.status === 503) return false
    if (response.status !== 200) throw new Error(`no status: ${text}`)
    last = JSON.parse(text) as JobView
    return done(last)
  })
  return last as JobView
}

export async function untilFinal(address: string, id: string): Promise<JobView> {
  return untilView(address, id, ({ status }) => status !== 'queued' && status !== 'running')
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
