import { randomBytes } from 'node:crypto'
import { loadConfig } from '../../src/config.ts'
import { createJobIds, type JobIds } from '../../src/jobs/job-id.ts'
import { type OpenBackends, openBackends } from '../../src/main/backends.ts'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { type FaultProxy, startProxy } from '../fault-kit/proxy.ts'
import { keepingLog } from '../quiet-log.ts'
import { type ServerProcess, startServer } from '../service/server-process.ts'
import { removeNamespace } from '../services/broker-namespace.ts'
import type { Services } from '../services/provide.ts'

/** Servers and workers as processes of their own over real services, with a fault proxy before each service. */
export interface Fleet {
  readonly namespace: string
  readonly broker: FaultProxy
  readonly redis: FaultProxy
  readonly storage: FaultProxy
  /** The environment of every process: through the proxies. */
  readonly env: Readonly<Record<string, string>>
  /** The services themselves, past the proxies. */
  readonly direct: Readonly<Record<string, string>>
  server(env?: Record<string, string>): ServerProcess
  worker(env?: Record<string, string>): ServerProcess
  /** The ports of this fleet in this process, past the proxies, for tests that look behind the curtain. */
  open(role?: 'server' | 'worker'): Promise<OpenBackends>
}

/** The ids that the servers of a fleet issue. */
export function idsOf({ env }: Pick<Fleet, 'env'>): JobIds {
  return createJobIds(Buffer.from(env.PACKSHOT_SECRET ?? ''))
}

export const fleetServer = new URL('../stand-in/fleet-server.ts', import.meta.url)
const workerFile = new URL('../stand-in/fleet-worker.ts', import.meta.url)

/** A fleet with queues, keys and a prefix of its own; nothing runs yet. What it leaves in the broker is removed. */
export async function prepareFleet(
  t: Cleanup,
  services: Services,
  extra: Record<string, string> = {},
): Promise<Fleet> {
  const cleanup = groupOf(t)
  const namespace = `test-${randomBytes(6).toString('hex')}`
  cleanup.after(() => removeNamespace(services.queueUrl, namespace))
  const [broker, redis, storage] = await Promise.all([
    startProxy(cleanup, placeOf(services.queueUrl, 5672)),
    startProxy(cleanup, placeOf(services.statusUrl, 6379)),
    startProxy(cleanup, placeOf(services.s3Endpoint, 80)),
  ])
  const common = {
    PACKSHOT_NAMESPACE: namespace,
    PACKSHOT_SECRET: 'the secret of the tests that all servers share',
    PACKSHOT_STORAGE_URL: `${services.storageUrl}/${namespace}`,
    PACKSHOT_DRAIN_SECONDS: '0',
    AWS_ACCESS_KEY_ID: services.accessKeyId,
    AWS_SECRET_ACCESS_KEY: services.secretAccessKey,
    AWS_REGION: services.region,
    ...extra,
  }
  const direct = {
    ...common,
    PACKSHOT_QUEUE_URL: services.queueUrl,
    PACKSHOT_STATUS_URL: services.statusUrl,
    PACKSHOT_S3_ENDPOINT: services.s3Endpoint,
  }
  const env = {
    ...common,
    PACKSHOT_QUEUE_URL: through(services.queueUrl, broker),
    PACKSHOT_STATUS_URL: through(services.statusUrl, redis),
    PACKSHOT_S3_ENDPOINT: through(services.s3Endpoint, storage),
  }
  return {
    namespace,
    broker,
    redis,
    storage,
    env,
    direct,
    server: (changes = {}) => startServer(cleanup, { ...env, ...changes }, fleetServer),
    worker: (changes = {}) => startServer(cleanup, { ...env, ...changes }, workerFile),
    async open(role = 'server') {
      // the SDK takes its keys from the environment alone
      process.env.AWS_ACCESS_KEY_ID = services.accessKeyId
      process.env.AWS_SECRET_ACCESS_KEY = services.secretAccessKey
      const backends = await openBackends(loadConfig(direct), role, keepingLog())
      cleanup.after(async () => backends[Symbol.asyncDispose]())
      return backends
    },
  }
}

function placeOf(url: string, usualPort: number): { host: string; port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port || usualPort) }
}

function through(url: string, proxy: FaultProxy): string {
  const changed = new URL(url)
  changed.hostname = proxy.host
  changed.port = String(proxy.port)
  return changed.href.replace(/\/$/, '')
}
