import { diskImageStore } from '../adapters/disk/image-store.ts'
import { threadGenerator } from '../adapters/inference-thread/image-generator.ts'
import { openDatabase } from '../adapters/sqlite/database.ts'
import { sqliteEventQueue } from '../adapters/sqlite/event-queue.ts'
import { sqliteStatusStore } from '../adapters/sqlite/status-store.ts'
import { sqliteTaskQueue } from '../adapters/sqlite/task-queue.ts'
import { loadConfig } from '../config.ts'
import { defaultAttemptLimits, type Speed } from '../jobs/attempt.ts'
import { toAppError } from '../jobs/errors.ts'
import { bestEffort } from '../jobs/log.ts'
import { runTask } from '../jobs/run.ts'
import { defaultStorageRetry } from '../jobs/storage-retry.ts'
import { openDataFolder } from './data-folder.ts'
import { createLogger } from './logger.ts'
import type { FromWorker, ToWorker } from './worker-messages.ts'

/**
 * The worker process of all-in-one mode: takes tasks on its event loop, computes in a thread. Its one argument is
 * the thread's file. It dies with its parent: whoever starts next finds every task where it was.
 */

const owner = 'embedded'
const heartbeatMs = 2000

async function main(inferenceEntry: URL): Promise<void> {
  const config = loadConfig(process.env)
  const log = createLogger(config, 'worker')
  process.on('disconnect', die)
  // Ctrl-C reaches the whole process group; the parent decides what it means and says so.
  process.on('SIGINT', () => {})

  const folder = await openDataFolder(config.dataDir)
  const database = openDatabase(folder.database)
  const status = sqliteStatusStore(database)
  const events = sqliteEventQueue(database, { log })
  const queue = sqliteTaskQueue(database, { max: config.queueMax, owner, log })
  const images = diskImageStore({ folder: folder.results, ttlSeconds: config.resultTtlSeconds })
  const generator = threadGenerator({ entry: inferenceEntry, settings: config, log, onStuck: die })
  try {
    await generator.start()
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    log.error({ err: thrown }, 'the engine cannot start')
    tell({ type: 'unusable', code, message }, () => process.exit(1))
    return
  }

  const speed: Speed = { secondsPerUnit: undefined }
  const limits = { ...defaultAttemptLimits, attemptMs: config.attemptSeconds * 1000 }
  const retries = { maxAttempts: 3, retryPauseMs: 1000, storageRetry: defaultStorageRetry }
  const deps = { images, status, events, generator, log, limits, speed, now: () => new Date(), ...retries }
  const stopping = new AbortController()
  const beat = () =>
    bestEffort(log, 'saying that the worker lives', status.heartbeat(owner, speed.secondsPerUnit))
  await beat()
  setInterval(beat, heartbeatMs)
  const consumer = await queue.consume((delivery) => runTask(deps, delivery, stopping.signal))
  tell({ type: 'ready' })

  const stop = async (finishMs: number) => {
    const timer = setTimeout(() => stopping.abort(), finishMs)
    await consumer.stop()
    clearTimeout(timer)
    await generator.close()
    database.close()
    process.exit(0)
  }
  process.on('message', ({ finishMs }: ToWorker) => void stop(finishMs))
  process.on('SIGTERM', () => void stop(config.shutdownSeconds * 1000))
}

function tell(message: FromWorker, then?: () => void): void {
  process.send?.(message, undefined, {}, then)
}

/**
 * An ordinary exit waits for the inference thread, which may be deep in native code. Dying is always safe here: a
 * task in work is delivered again.
 */
function die(): never {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('unreachable')
}

await main(new URL(process.argv[2] ?? ''))
