import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { mergeTexts } from '../adapters/prometheus/merge.ts'
import type { PrometheusMetrics } from '../adapters/prometheus/registry.ts'
import { noTelemetry } from '../diffusion/runtime/telemetry.ts'
import { AppError, type ErrorCode } from '../jobs/errors.ts'
import type { Holdings } from '../jobs/holdings.ts'
import type { Log } from '../jobs/log.ts'
import { doubled } from '../jobs/retry.ts'
import { withLargePages } from './process/large-pages.ts'

/** To a worker process from its supervisor. */
export type ToWorker =
  | {
      readonly type: 'stop'
      /** How long the current job may continue. */
      readonly finishMs: number
    }
  /** Answered with its metrics. */
  | { readonly type: 'measured' }

/** From a worker process to its supervisor. */
export type FromWorker =
  | { readonly type: 'ready' }
  /** What it has in memory now. */
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  | { readonly type: 'measured'; readonly text: string }
  /** The model cannot be loaded; the process ends after this. */
  | { readonly type: 'unusable'; readonly code: string; readonly message: string }

export interface WorkerSupervisor {
  /** Settles once: when the first worker is ready, or when it reports that its model cannot be used. */
  readonly ready: Promise<void>
  /** Whether there is a worker process that has loaded its model. */
  readonly up: boolean
  /** What the worker has in memory; undefined until it reports it. */
  readonly holdings: Holdings | undefined
  /** The metrics of the worker, and how often it was replaced; what it does not tell in time is left out. Never rejects. */
  metricsText(): Promise<string>
  /** Lets the current job run for `finishMs`, then has it returned to the queue; resolves when the process is gone. */
  stop(finishMs: number): Promise<void>
  /** Kills the process at once: its job is redelivered at the next start. */
  kill(): void
}

export interface SupervisorOptions {
  /** The program of the worker process. */
  readonly entry: URL
  readonly env: NodeJS.ProcessEnv
  /** Names of variables that this worker needs beyond those of every worker. */
  readonly alsoNeeds?: RegExp
  /** What this process tells of the worker; absent: nothing is measured. */
  readonly measured?: PrometheusMetrics | undefined
  readonly log: Log
}

const backoff = { firstMs: 200, longestMs: 10_000 }
/** A worker that lived this long was healthy: its successor starts without the growing pause. */
const healthyMs = 60_000
const stepGraceMs = 60_000
/** Longer than a worker waits for what it reads itself. */
const metricsMs = 3000

/**
 * Keeps one worker process alive: one that dies, or cannot be started, is replaced after a pause that doubles while
 * workers die young.
 * The worker exits on its own when this process dies, because its IPC channel then closes.
 */
export function superviseWorker(options: SupervisorOptions): WorkerSupervisor {
  const { entry, env, alsoNeeds, measured, log } = options
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
  // it may reject before it is awaited
  ready.catch(() => {})
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let deaths = 0
  let stopping = false
  let up = false
  let holdings: Holdings | undefined
  let told = Promise.withResolvers<string>()
  const pages = withLargePages(workerEnvironment(env, alsoNeeds))
  if (pages.note !== undefined) log.info({}, pages.note)

  const start = () => {
    const started = performance.now()
    const replace = (fields: object, message: string) => {
      child = undefined
      up = false
      holdings = undefined
      told.resolve('')
      if (stopping) return
      measured?.metrics.workerRestarts.add({})
      deaths = performance.now() - started > healthyMs ? 1 : deaths + 1
      const pause = doubled(backoff, deaths)
      log.error({ ...fields, restartMs: pause }, message)
      timer = setTimeout(start, pause)
    }
    const notStarted = (err: unknown) => replace({ err }, 'the worker process cannot be started; retrying')
    let worker: ChildProcess
    try {
      worker = fork(fileURLToPath(entry), {
        env: pages.env,
        execArgv: [...process.execArgv, '--disable-sigusr1'],
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      })
    } catch (err) {
      // some shortages of the system are thrown (ENOMEM), others become an event (EAGAIN, EMFILE)
      return notStarted(err)
    }
    child = worker
    if (worker.pid !== undefined) log.info({ worker: worker.pid }, 'worker process started')
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'ready') {
        up = true
        resolve()
      } else if (message.type === 'holdings') holdings = message.holdings
      else if (message.type === 'measured') told.resolve(message.text)
      else reject(new AppError(message.code as ErrorCode, message.message))
    })
    // a process that never started has no exit
    worker.on('error', (err) =>
      worker.pid === undefined ? notStarted(err) : log.error({ err }, 'the worker process cannot be reached'),
    )
    worker.on('exit', (code, signal) => replace({ code, signal }, 'the worker process exited; restarting it'))
  }
  start()

  return {
    ready,
    get up() {
      return up
    },
    get holdings() {
      return holdings
    },
    async metricsText() {
      if (measured === undefined) return ''
      told = Promise.withResolvers()
      const { promise, resolve } = told
      const timer = setTimeout(resolve, metricsMs, '')
      // the callback takes a fault of the channel, which would be an event else
      if (child?.connected === true)
        child.send({ type: 'measured' } satisfies ToWorker, (fault) => fault && resolve(''))
      else resolve('')
      const texts = await Promise.all([measured.text(), promise])
      clearTimeout(timer)
      return mergeTexts(texts)
    },
    async stop(finishMs) {
      stopping = true
      clearTimeout(timer)
      const worker = child
      if (worker?.pid === undefined || worker.exitCode !== null || worker.signalCode !== null) return
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

/**
 * What a worker process is given of the environment: its settings, the paths of the system, and what tunes Node, the
 * engine's libraries and drivers. Native code runs in that process on files from elsewhere, so whatever else the
 * environment has (passwords of other programs, the key that signs job ids) stays out.
 */
const needed = new RegExp(
  `^(${[
    'PACKSHOT_\\w+',
    // paths, user and language
    'PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|TMPDIR|TEMP|TMP|TZ|TZDIR|TERM|LANG|LANGUAGE|LC_\\w+|XDG_\\w+',
    'SystemRoot|windir|ComSpec|PATHEXT|APPDATA|LOCALAPPDATA|ProgramData|USERPROFILE',
    // Node, the C library and the network
    'NODE_\\w+|UV_\\w+|LD_\\w+|DYLD_\\w+|GLIBC_TUNABLES|MALLOC_\\w+|SSL_CERT_(FILE|DIR)|OPENSSL_CONF',
    '(HTTP|HTTPS|ALL|NO)_PROXY',
    // computing: ONNX Runtime, threads, GPU drivers, libvips
    'ORT_\\w+|ONNX\\w+|OMP_\\w+|KMP_\\w+|MKL_\\w+|VIPS_\\w+|DAWN_\\w+|TINT_\\w+',
    'CUDA\\w*|CUDNN\\w*|NV\\w+|__NV_\\w+|__GL\\w+|VK_\\w+|MESA_\\w+|LIBGL_\\w+|EGL_\\w+|GALLIUM_\\w+|LP_\\w+|DRI_PRIME|RADV_\\w+|AMD_\\w+|ROCR_\\w+|ROCM_\\w+|HIP_\\w+|HSA_\\w+|ZE_\\w+|DISPLAY|WAYLAND_DISPLAY',
    // how the storage is reached
    'AWS_\\w+',
    // where traces and reports of faults go
    'OTEL_\\w+|SENTRY_(DSN|DSN_FILE|ENVIRONMENT|RELEASE)',
  ].join('|')})$`,
  'i',
)
const secret = /^PACKSHOT_SECRET$|^(?!AWS_).*(SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|AUTH)/i

/** @param alsoNeeds names beyond these, for a stand-in of the engine */
export function workerEnvironment(env: NodeJS.ProcessEnv, alsoNeeds?: RegExp): NodeJS.ProcessEnv {
  const usesStorage = Boolean(env.PACKSHOT_STORAGE_URL || env.PACKSHOT_STORAGE_URL_FILE)
  const passes = (name: string) =>
    alsoNeeds?.test(name) === true ||
    (needed.test(name) && !secret.test(name) && (usesStorage || !name.startsWith('AWS_')))
  return { ...Object.fromEntries(Object.entries(env).filter(([name]) => passes(name))), ...noTelemetry }
}
