import { hostname } from 'node:os'
import { type FolderLock, lockFolder } from '../adapters/disk/folder-lock.ts'
import { diskImageStore } from '../adapters/disk/image-store.ts'
import { memoryRateLimiter } from '../adapters/memory/rate-limiter.ts'
import { type Database, openDatabase, readSecret } from '../adapters/sqlite/database.ts'
import { sqliteEventQueue } from '../adapters/sqlite/event-queue.ts'
import { sqliteStatusStore } from '../adapters/sqlite/status-store.ts'
import { sqliteTaskQueue } from '../adapters/sqlite/task-queue.ts'
import { sqliteWebhookQueue } from '../adapters/sqlite/webhook-queue.ts'
import { type Config, ConfigError } from '../config.ts'
import { AppError, messageOf } from '../jobs/errors.ts'
import type { Log } from '../jobs/log.ts'
import type {
  EventQueue,
  ImageStore,
  RateLimiter,
  StatusStore,
  TaskQueue,
  WebhookQueue,
} from '../jobs/ports.ts'
import { signedEvents, signedTasks, signedWebhooks } from '../jobs/signed.ts'
import { tracedEvents, tracedTasks, tracedWebhooks } from '../jobs/traced-queues.ts'
import { tracedImages, tracedStatus } from '../jobs/traced-work.ts'
import { checkDataFolder, type DataFolder, openDataFolder } from './process/data-folder.ts'

/** The external systems of a process: each port is the service that its URL names, or embedded without one. */
export interface Backends {
  readonly queue: TaskQueue
  readonly events: EventQueue
  readonly webhookQueue: WebhookQueue
  readonly status: StatusStore
  readonly images: ImageStore
  readonly limiter: RateLimiter
}

export interface OpenBackends extends Backends, AsyncDisposable {
  /** The key that signs job ids, then those that signed them before. */
  readonly secrets: readonly [Uint8Array, ...Uint8Array[]]
}

/**
 * The embedded queue frees what a consumer of the same name left behind, so the one worker of a folder always has the
 * same name; on a shared queue the name is only for display.
 */
export function workerName(config: Config): string {
  return config.queueUrl === undefined ? 'embedded' : `${hostname()}-${process.pid}`
}

/** An operator's command works beside a server. */
type Role = 'server' | 'worker' | 'operator'

/**
 * Connects to everything in parallel. Rejects with all faults: a `ConfigError` with one sentence each. The clients of
 * services are loaded only where a service is configured: they are a fifth of what the start of a server costs.
 */
export async function openBackends(config: Config, role: Role, log: Log): Promise<OpenBackends> {
  await using opening = new AsyncDisposableStack()
  const embedded = await openEmbedded(config, role, log, opening)
  const [tasks, state, results] = await Promise.allSettled([
    openQueues(config, embedded, role, log, opening),
    openStatus(config, embedded, log, opening),
    openImages(config, embedded, role, log, opening),
  ])
  if (tasks.status === 'rejected' || state.status === 'rejected' || results.status === 'rejected') {
    const faults = [tasks, state, results].flatMap((each) =>
      each.status === 'rejected' ? [each.reason] : [],
    )
    throw new ConfigError(faults.map((fault) => messageOf(fault)))
  }
  const opened = opening.move()
  return {
    ...tracedQueues(tasks.value, config.queueUrl === undefined ? 'sqlite' : 'rabbitmq'),
    status: tracedStatus(state.value.status),
    limiter: state.value.limiter,
    images: tracedImages(results.value),
    // a worker verifies no ids
    secrets: role === 'worker' ? [new Uint8Array()] : secretsOf(config, embedded?.database),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

interface Embedded {
  readonly folder: DataFolder
  readonly database: Database
}

/** Undefined when nothing is embedded: such a process needs no disk. */
async function openEmbedded(
  config: Config,
  role: Role,
  log: Log,
  opening: AsyncDisposableStack,
): Promise<Embedded | undefined> {
  const { queueUrl, statusUrl, storage, secrets } = config
  const nothing =
    queueUrl !== undefined &&
    statusUrl !== undefined &&
    storage !== undefined &&
    (secrets !== undefined || role === 'worker')
  if (nothing) return undefined
  const folder = await openDataFolder(config.dataDir)
  if (role === 'server') {
    opening.adopt(lockData(folder), (lock) => lock.release())
    await checkDataFolder(folder, log)
  }
  return { folder, database: opening.adopt(openDatabase(folder.database), (open) => open.close()) }
}

function lockData({ lock, path }: DataFolder): FolderLock {
  try {
    return lockFolder(lock, path)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    const message = `${messageOf(cause)} Make room there, or choose a folder on a local disk with PACKSHOT_DATA_DIR.`
    throw new AppError('unavailable', message, { param: 'PACKSHOT_DATA_DIR', cause })
  }
}

type Queues = Pick<Backends, 'queue' | 'events' | 'webhookQueue'>

async function openQueues(
  config: Config,
  embedded: Embedded | undefined,
  role: Role,
  log: Log,
  opening: AsyncDisposableStack,
): Promise<Queues> {
  const { queueUrl, namespace, queueMax, webhooksMax, startSeconds } = config
  let queues: Queues
  if (queueUrl !== undefined) {
    const name = `packshot ${role} ${workerName(config)}`
    const options = {
      url: queueUrl,
      namespace,
      queueMax,
      webhooksMax,
      name,
      log,
      startMs: startSeconds * 1000,
    }
    const [{ openBroker }, { rabbitTaskQueue }, { rabbitEventQueue }, { rabbitWebhookQueue }] =
      await Promise.all([
        import('../adapters/rabbitmq/broker.ts'),
        import('../adapters/rabbitmq/task-queue.ts'),
        import('../adapters/rabbitmq/event-queue.ts'),
        import('../adapters/rabbitmq/webhook-queue.ts'),
      ])
    const broker = opening.adopt(await openBroker(options), (open) => open.close())
    const plain = {
      queue: rabbitTaskQueue(broker),
      events: rabbitEventQueue(broker),
      webhookQueue: rabbitWebhookQueue(broker),
    }
    // a worker has no secret, and sends no webhook
    const secrets = role === 'worker' ? undefined : secretsOf(config, embedded?.database)
    queues = signed(plain, config, secrets, log)
  } else {
    const { database } = expectEmbedded(embedded)
    const owner = role === 'worker' ? workerName(config) : 'server'
    queues = {
      queue: sqliteTaskQueue(database, { max: queueMax, owner, log }),
      events: sqliteEventQueue(database, { log }),
      webhookQueue: sqliteWebhookQueue(database, { max: webhooksMax, owner, log }),
    }
  }
  opening.adopt(queues.queue, (queue) => queue.close())
  opening.adopt(queues.events, (events) => events.close())
  opening.adopt(queues.webhookQueue, (webhooks) => webhooks.close())
  return queues
}

function tracedQueues({ queue, events, webhookQueue }: Queues, system: string): Queues {
  return {
    queue: tracedTasks(queue, system),
    events: tracedEvents(events, system),
    webhookQueue: tracedWebhooks(webhookQueue, system),
  }
}

function signed(
  queues: Queues,
  { messageKey }: Config,
  secrets: OpenBackends['secrets'] | undefined,
  log: Log,
): Queues {
  const { queue, events } = queues
  const webhookQueue =
    secrets === undefined ? queues.webhookQueue : signedWebhooks(queues.webhookQueue, { secrets, log })
  if (messageKey === undefined) return { queue, events, webhookQueue }
  const options = { key: Buffer.from(messageKey), log }
  return { queue: signedTasks(queue, options), events: signedEvents(events, options), webhookQueue }
}

async function openStatus(
  config: Config,
  embedded: Embedded | undefined,
  log: Log,
  opening: AsyncDisposableStack,
): Promise<Pick<Backends, 'status' | 'limiter'>> {
  const { statusUrl, namespace, startSeconds } = config
  if (statusUrl === undefined) {
    return { status: sqliteStatusStore(expectEmbedded(embedded).database), limiter: memoryRateLimiter() }
  }
  const options = { url: statusUrl, log, startMs: startSeconds * 1000 }
  const [{ openRedis }, { redisStatusStore }, { redisRateLimiter }] = await Promise.all([
    import('../adapters/redis/connection.ts'),
    import('../adapters/redis/status-store.ts'),
    import('../adapters/redis/rate-limiter.ts'),
  ])
  const redis = opening.adopt(await openRedis(options), (open) => open.close())
  const status = opening.adopt(redisStatusStore(redis, { namespace, log }), (store) => store.close())
  return { status, limiter: redisRateLimiter(redis, { namespace, fallback: memoryRateLimiter(), log }) }
}

async function openImages(
  config: Config,
  embedded: Embedded | undefined,
  role: Role,
  log: Log,
  opening: AsyncDisposableStack,
): Promise<ImageStore> {
  const ttlSeconds = config.resultTtlSeconds
  if (config.storage === undefined) {
    return diskImageStore({ folder: expectEmbedded(embedded).folder.results, ttlSeconds })
  }
  // only servers give out addresses, and only where they are must the public endpoint answer
  const { publicEndpoint, ...inside } = config.storage
  const place = { ...inside, publicEndpoint: role === 'server' ? publicEndpoint : undefined }
  const [{ openBucket }, { s3ImageStore }] = await Promise.all([
    import('../adapters/s3/bucket.ts'),
    import('../adapters/s3/image-store.ts'),
  ])
  const bucket = await openBucket(bucketOptions(config, place, log))
  opening.adopt(bucket, (open) => open.close())
  return s3ImageStore(bucket, { ttlSeconds })
}

/** How the bucket of a configuration is reached. */
export function bucketOptions(config: Config, storage: NonNullable<Config['storage']>, log: Log) {
  const { url, endpoint, publicEndpoint, region } = storage
  return {
    url,
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(publicEndpoint === undefined ? {} : { publicEndpoint }),
    log,
    startMs: config.startSeconds * 1000,
  }
}

function expectEmbedded(embedded: Embedded | undefined): Embedded {
  if (embedded === undefined) throw new Error('a part without a URL needs the data folder')
  return embedded
}

function secretsOf({ secrets }: Config, database: Database | undefined): OpenBackends['secrets'] {
  const [first, ...older] = (secrets ?? []).map((text) => Buffer.from(text))
  if (first !== undefined) return [first, ...older]
  return [database === undefined ? new Uint8Array() : readSecret(database, 'job-ids')]
}
