import { join } from 'node:path'
import { diskImageStore } from '../../src/adapters/disk/image-store.ts'
import { memoryRateLimiter } from '../../src/adapters/memory/rate-limiter.ts'
import { pictureReader } from '../../src/adapters/pictures/picture-reader.ts'
import { thumbnailer } from '../../src/adapters/pictures/thumbnails.ts'
import { openDatabase } from '../../src/adapters/sqlite/database.ts'
import { sqliteEventQueue } from '../../src/adapters/sqlite/event-queue.ts'
import { sqliteStatusStore } from '../../src/adapters/sqlite/status-store.ts'
import { sqliteTaskQueue } from '../../src/adapters/sqlite/task-queue.ts'
import { sqliteWebhookQueue } from '../../src/adapters/sqlite/webhook-queue.ts'
import { anonymousCaller, type Credentials } from '../../src/jobs/caller.ts'
import { createCatalogues } from '../../src/jobs/catalogue/catalogues.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { defaultLimits } from '../../src/jobs/fields.ts'
import { createJobIds } from '../../src/jobs/job-id.ts'
import { type Metrics, noMetrics } from '../../src/jobs/metrics.ts'
import { imageSeed, stepsOf } from '../../src/jobs/pictures.ts'
import type { ImageGenerator } from '../../src/jobs/ports.ts'
import { createReturns } from '../../src/jobs/serving/returns.ts'
import { type SubmitDeps, type SubmitOptions, submitJob } from '../../src/jobs/serving/submit.ts'
import { watchJobs } from '../../src/jobs/serving/wait.ts'
import { createWebhooks } from '../../src/jobs/serving/webhooks/create.ts'
import { webhookRules } from '../../src/jobs/webhook-address.ts'
import { createWebhookSecrets } from '../../src/jobs/webhook-secrets.ts'
import { defaultAttemptLimits } from '../../src/jobs/working/attempt.ts'
import { type RunDeps, runTask } from '../../src/jobs/working/run.ts'
import type { Speed } from '../../src/jobs/working/speed.ts'
import { promptReader } from '../../src/library/prompt-reader.ts'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { keepingLog } from '../quiet-log.ts'
import { standInOffer } from '../stand-in/engine.ts'

/** The core with the embedded adapters, in one process and with a clock that tests can move. */
export function embedded(t: Cleanup, options: { queueMax?: number; ttlSeconds?: number } = {}) {
  const { queueMax = 100, ttlSeconds = 3600 } = options
  const folder = tempFolder(t)
  const database = openDatabase(join(folder, 'test.db'))
  const log = keepingLog()
  const clock = { ahead: 0 }
  const queue = sqliteTaskQueue(database, { max: queueMax, owner: 'test', log, pollMs: 10 })
  const events = sqliteEventQueue(database, { log, pollMs: 10 })
  const webhookQueue = sqliteWebhookQueue(database, { max: 100, owner: 'test', log, pollMs: 10, retryMs: 20 })
  const status = sqliteStatusStore(database)
  const now = () => new Date(Date.now() + clock.ahead)
  const webhookSecrets = createWebhookSecrets(Buffer.from('the secret of the tests'))
  const webhooks = createWebhooks({
    status,
    queue: webhookQueue,
    secrets: webhookSecrets,
    rules: webhookRules(['127.0.0.1', 'shop.test']),
    forms: { brief: ({ id, status: ended }) => ({ id, ended }) },
    ttlSeconds,
    now,
    log,
  })
  lastFirst(t).after(async () => {
    await queue.close()
    await events.close()
    await webhookQueue.close()
    database.close()
  })
  const core = {
    folder,
    database,
    log,
    clock,
    queue,
    events,
    ids: createJobIds(Buffer.from('the secret of the tests')),
    status,
    webhooks,
    webhookQueue,
    webhookSecrets,
    images: diskImageStore({ folder: join(folder, 'results'), ttlSeconds }),
    limiter: memoryRateLimiter(),
    requests: memoryRateLimiter(),
    space: { take: async () => {} },
    workspaceLimits: { jobs: 300, looks: 40, seconds: 86_400 },
    keptLimits: { pictures: 3, anonymous: true },
    attemptSeconds: 1800,
    metrics: noMetrics as Metrics,
    returns: createReturns(),
    caller: ({ address }: Credentials) => anonymousCaller(address),
    offer: () => standInOffer,
    prompts: promptReader(() => [{ name: 'EasyNegative', vectors: 8 }]),
    pictures: pictureReader(),
    thumbnails: thumbnailer({ atOnce: 2 }),
    uploadLimits: { bytes: 200_000, pixels: 1e6, longest: 3000, kept: 512 * 512 },
    limits: defaultLimits,
    ttlSeconds,
    now,
  }
  const watch = watchJobs(core)
  lastFirst(t).after(() => watch.close())
  const catalogues = createCatalogues({
    ...core,
    catalogueTtlSeconds: 7 * ttlSeconds,
    catalogueLimits: { rows: 1000, pictures: 2000, bytes: 2 ** 20, runs: 3 },
    callerNamed: (name, account) => ({ ...anonymousCaller('127.0.0.1'), name, account }),
  })
  return { ...core, watch, catalogues }
}
export type Embedded = ReturnType<typeof embedded>

/** Submits a request of a client without limits. */
export function submit(
  deps: SubmitDeps,
  body: unknown,
  options: Partial<SubmitOptions> = {},
): ReturnType<typeof submitJob> {
  return submitJob(deps, body, { caller: anonymousCaller('127.0.0.1'), ...options })
}

/** Called before each step; what it throws ends the run. */
export type StepAction = (step: number, prompt: string) => void | Promise<void>

/** Pictures of a few bytes, made on the caller's event loop. */
export function quickGenerator(onStep: StepAction = () => {}): ImageGenerator {
  return {
    async *generate(request, { signal, onProgress, images, previews }) {
      const each = stepsOf(request)
      const steps = each * request.count
      for (let index = 0; index < request.count; index += 1) {
        for (let step = 1; step <= each; step += 1) {
          signal.throwIfAborted()
          await onStep(step, request.prompt)
          onProgress({ step: index * each + step, steps })
          if (previews !== undefined && index === 0 && step <= Math.min(previews.count, each - 1)) {
            previews.onPreview({ index: step, bytes: Buffer.from(`preview ${step}`) })
          }
        }
        signal.throwIfAborted()
        const seed = imageSeed(request, index)
        const from =
          images === undefined
            ? ''
            : ` from ${(images.init ?? Buffer.alloc(0)).byteLength} and ${images.mask?.byteLength ?? 0} bytes`
        yield {
          bytes: Buffer.from(`picture of seed ${seed}${from}`),
          width: request.width,
          height: request.height,
          seed,
        }
      }
    },
    async close() {},
  }
}

export function runDeps(parts: Embedded, changes: Partial<RunDeps> = {}): RunDeps {
  const { images, status, events, metrics, log, now } = parts
  const speed: Speed = { secondsPerUnit: undefined }
  return {
    images,
    status,
    events,
    metrics,
    log,
    now,
    generator: quickGenerator(),
    limits: { ...defaultAttemptLimits, progressEveryMs: 0, cancelEveryMs: 10 },
    storageRetry: { budgetMs: 200, firstMs: 10, longestMs: 20 },
    speed,
    maxLosses: 3,
    retryPauseMs: 20,
    ...changes,
  }
}

/** Works on tasks until `done` returns true; fails if that takes absurdly long. */
export async function workUntil(
  parts: Embedded,
  deps: RunDeps,
  done: () => Promise<boolean>,
  stopping: AbortSignal = new AbortController().signal,
): Promise<void> {
  const consumer = await parts.queue.consume((delivery) => runTask(deps, delivery, stopping))
  try {
    await waitFor(done)
  } finally {
    await consumer.stop()
  }
}

export const storageIsAway = () => {
  throw new AppError('unavailable', 'The storage is away.')
}
