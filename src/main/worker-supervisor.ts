import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { AppError, type ErrorCode } from '../jobs/errors.ts'
import type { Holdings } from '../jobs/holdings.ts'
import type { Log } from '../jobs/log.ts'
import { doubled } from '../jobs/retry.ts'
import { withLargePages } from './large-pages.ts'
import type { FromWorker, ToWorker } from './worker-messages.ts'

export interface WorkerSupervisor {
  /** Settles once: when the first worker is ready, or when it reports that its model cannot be used. */
  readonly ready: Promise<void>
  /** What the worker has in memory; undefined until it reports it. */
  readonly holdings: Holdings | undefined
  /** Lets the current job run for `finishMs`, then has it returned to the queue; resolves when the process is gone. */
  stop(finishMs: number): Promise<void>
  /** Kills the process at once: its job is redelivered at the next start. */
  kill(): void
}

export interface SupervisorOptions {
  /** The program of the worker process. */
  readonly entry: URL
  readonly env: NodeJS.ProcessEnv
  readonly log: Log
}

const backoff = { firstMs: 200, longestMs: 10_000 }
/** A worker that lived this long was healthy: its successor starts without the growing pause. */
const healthyMs = 60_000
const stepGraceMs = 60_000

/**
 * Keeps one worker process alive: one that dies is replaced, after a pause that doubles while workers die young.
 * The worker exits on its own when this process dies, because its IPC channel then closes.
 */
export function superviseWorker({ entry, env, log }: SupervisorOptions): WorkerSupervisor {
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
  ready.catch(() => {})
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let deaths = 0
  let stopping = false
  let holdings: Holdings | undefined
  const pages = withLargePages(env)
  if (pages.note !== undefined) log.info({}, pages.note)

  // native code runs in the worker, which signs no ids and downloads nothing
  const { PACKSHOT_SECRET: _secret, HF_TOKEN: _token, ...childEnv } = pages.env

  const start = () => {
    const started = performance.now()
    const worker = fork(fileURLToPath(entry), {
      env: childEnv,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    child = worker
    log.info({ worker: worker.pid }, 'worker process started')
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'ready') resolve()
      else if (message.type === 'holdings') holdings = message.holdings
      else reject(new AppError(message.code as ErrorCode, message.message))
    })
    worker.on('error', (err) => log.error({ err }, 'the worker process could not be started or reached'))
    worker.on('exit', (code, signal) => {
      holdings = undefined
      if (stopping) return
      deaths = performance.now() - started > healthyMs ? 1 : deaths + 1
      const pause = doubled(backoff, deaths)
      log.error({ code, signal, restartMs: pause }, 'the worker process exited; restarting it')
      timer = setTimeout(start, pause)
    })
  }
  start()

  return {
    ready,
    get holdings() {
      return holdings
    },
    async stop(finishMs) {
      stopping = true
      clearTimeout(timer)
      const worker = child
      if (worker === undefined || worker.exitCode !== null || worker.signalCode !== null) return
      const gone = new Promise<void>((done) => worker.once('exit', () => done()))
      if (worker.connected) worker.send({ type: 'stop', finishMs } satisfies ToWorker)
      const late = setTimeout(() => worker.kill('SIGKILL'), finishMs + stepGraceMs)
      await gone
      clearTimeout(late)
    },
    kill() {
      stopping = true
      clearTimeout(timer)
      child?.kill('SIGKILL')
    },
  }
}
