import { type Config, loadConfig } from '../config.ts'
import { inferenceSettings } from '../generator/protocol.ts'
import { type ThreadGeneratorOptions, threadGenerator } from '../generator/thread-generator.ts'
import { AppError, messageOf } from '../jobs/errors.ts'
import { bestEffort, type Log } from '../jobs/log.ts'
import { noReports, reportedImages } from '../jobs/reports.ts'
import { tracedGenerator } from '../jobs/traced-work.ts'
import { defaultAttemptLimits } from '../jobs/working/attempt.ts'
import { defaultRunLimits } from '../jobs/working/run.ts'
import { sideBySide } from '../jobs/working/side-by-side.ts'
import type { Speed } from '../jobs/working/speed.ts'
import { defaultStorageRetry, type StorageRetry } from '../jobs/working/storage-retry.ts'
import { type Backends, openBackends, workerName } from './backends.ts'
import { readDependencies } from './observed/gauges.ts'
import { measuredBackends } from './observed/measured.ts'
import { startMeasuring } from './observed/metrics.ts'
import { endWithReport, openTelemetry, type Telemetry } from './observed/telemetry.ts'
import { createLogger } from './process/logger.ts'
import { startWorkerHealth } from './worker-health.ts'
import type { FromWorker, ToWorker } from './worker-supervisor.ts'

const heartbeatMs = 2000
/** A worker that is to stop while it opens its services may go on with that for so long. */
const openingMs = 5000

export interface WorkerOptions {
  /** The file of the inference thread. */
  readonly inferenceEntry: URL
  /** For tests: wraps the worker's backends. */
  readonly around?: (backends: Backends) => Backends
  /** For tests: other time limits for storage and for the inference thread. */
  readonly storageRetry?: StorageRetry
  readonly threadTimes?: Pick<ThreadGeneratorOptions, 'abortGraceMs' | 'endMs'>
}

/**
 * The worker process: it takes tasks on its event loop and computes in a thread. Its parent is a supervisor; when that
 * dies this process dies too, and other workers find every task in the queue.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  process.on('disconnect', die)
  // a parent that died while this file was loading causes no `disconnect` event
  if (process.connected === false) die()
  // Ctrl-C and a closed terminal reach the whole process group; the parent decides what they mean and sends a message.
  process.on('SIGINT', () => {})
  process.on('SIGHUP', () => {})
  // until it is ready it has no job, and nothing to tell
  const orders: Orders = { stop: die, measured: () => tell({ type: 'measured', text: '' }) }
  process.on('message', (message: ToWorker) => {
    if (message.type === 'stop') orders.stop(message.finishMs)
    else orders.measured()
  })
  process.umask(0o077)
  const config = loadConfig(process.env)
  const log = createLogger(config, 'worker')
  let telemetry: Telemetry | undefined
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'an unhandled error ends this process')
    endWithReport(telemetry?.reports ?? noReports, err, die)
  })
  try {
    telemetry = await openTelemetry(config, 'worker', log)
    await work(config, log, telemetry, options, orders)
  } catch (thrown) {
    log.error({ err: thrown }, 'the worker cannot start')
    const { code, message, detail } = asStartFault(thrown)
    tell({ type: 'unusable', code, message: detail ?? message }, () => process.exit(1))
  }
}

/** What messages of the supervisor do. There is one listener from the start: what comes before a second one is lost. */
interface Orders {
  stop(finishMs: number): void
  measured(): void
}

/** @param orders get what they do once the worker is ready for them */
async function work(
  config: Config,
  log: Log,
  telemetry: Telemetry,
  options: WorkerOptions,
  orders: Orders,
): Promise<void> {
  const { inferenceEntry, around, storageRetry = defaultStorageRetry, threadTimes } = options
  await using starting = new AsyncDisposableStack()
  starting.defer(() => telemetry.close())
  const health = await startWorkerHealth(config)
  starting.adopt(health, (server) => server.close())
  const measuring = await startMeasuring(config, 'worker')
  const { metrics } = measuring
  orders.measured = () => {
    const telling = measuring.text().then((text) => tell({ type: 'measured', text }))
    void bestEffort(log, 'telling metrics', telling)
  }
  // an object with which the storage is tried would stay there
  let isUnwanted = false
  orders.stop = () => {
    isUnwanted = true
    setTimeout(die, openingMs)
  }
  const opened = starting.use(await openBackends(config, 'worker', log))
  if (isUnwanted) die()
  orders.stop = die
  const measured = measuredBackends(around?.(opened) ?? opened, metrics, config.queueUrl === undefined)
  const { status, events, queue } = measured.backends
  const images = reportedImages(measured.backends.images, telemetry.reports)
  readDependencies(measuring, measured)
  const thread = threadGenerator({
    entry: inferenceEntry,
    settings: inferenceSettings(config),
    log,
    onNews(news) {
      if (news.type === 'warning') return log.warn({ reason: news.message }, 'the engine has a warning')
      if (news.type === 'eight bits')
        return log[news.gains ? 'info' : 'warn']({ reason: news.reason }, 'eight bits were measured')
      if (news.type === 'unused')
        return log.info({ bytes: news.bytes }, 'copies of weights that no model used for long were deleted')
      if (news.type === 'profile') {
        const { model, profile, reason } = news
        return log.info({ model, profile, reason }, 'the profile is chosen by what the machine has')
      }
      health.holdings = news.holdings
      tell({ type: 'holdings', holdings: news.holdings })
    },
    onStuck: die,
    ...threadTimes,
  })
  starting.adopt(thread, (running) => running.close())
  await thread.start()
  const generator = tracedGenerator(thread)

  const speed: Speed = { secondsPerUnit: undefined }
  const limits = { ...defaultAttemptLimits, attemptMs: config.attemptSeconds * 1000 }
  const retries = { ...defaultRunLimits, storageRetry }
  const deps = {
    images,
    status,
    events,
    generator,
    metrics,
    log,
    limits,
    speed,
    now: () => new Date(),
    ...retries,
  }
  const stopping = new AbortController()
  const name = workerName(config)
  const beat = () =>
    bestEffort(log, 'sending the heartbeat', status.heartbeat(name, speed.secondsPerUnit), 'debug')
  await beat()
  const beating = setInterval(beat, heartbeatMs)
  starting.defer(() => clearInterval(beating))
  const consumer = await queue.consume(sideBySide(deps, stopping.signal))
  health.ready = true
  metrics.workerBusy.set({}, 0)
  tell({ type: 'ready' })

  const running = starting.move()
  let asked = false
  const stop = async (finishMs: number) => {
    if (asked) return
    asked = true
    health.ready = false
    const timer = setTimeout(() => stopping.abort(new Error('The worker is stopping.')), finishMs)
    await consumer.stop()
    clearTimeout(timer)
    await running.disposeAsync()
    process.exit(0)
  }
  orders.stop = (finishMs) => void stop(finishMs)
  process.on('SIGTERM', () => void stop(config.shutdownSeconds * 1000))
}

/** Errors of startup are written for people, even without a code from the table. */
function asStartFault(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError('unavailable', messageOf(thrown))
}

/** A parent that is gone is noticed by its disconnection: without a callback the failed write would be an unhandled error. */
function tell(message: FromWorker, then: () => void = () => {}): void {
  process.send?.(message, undefined, {}, then)
}

/**
 * An ordinary exit waits for the inference thread, which may be deep in native code. Dying is always safe here: a
 * task in progress is redelivered.
 */
function die(): never {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('unreachable')
}

if (import.meta.main)
  await runWorker({ inferenceEntry: new URL('../generator/inference-thread.ts', import.meta.url) })
