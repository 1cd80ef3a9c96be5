import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { memoryRateLimiter } from '../adapters/memory/rate-limiter.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import type { Config } from '../config.ts'
import { buildHttp } from '../http/app.ts'
import { createServices } from '../http/services.ts'
import { anonymousCaller, type CallerLimits, type Credentials, type RateName } from '../jobs/caller.ts'
import { defaultLimits } from '../jobs/fields.ts'
import type { Holdings } from '../jobs/holdings.ts'
import { createJobIds, uploadKeptSeconds } from '../jobs/job-id.ts'
import type { Log } from '../jobs/log.ts'
import { startHousekeeping } from '../jobs/serving/housekeeping.ts'
import { watchSpace } from '../jobs/serving/space.ts'
import { watchJobs } from '../jobs/serving/wait.ts'
import type { OfferSource } from '../library/offer-source.ts'
import type { OpenBackends } from './backends.ts'
import { webhookParts } from './webhooks.ts'

/** Page and API of one server process, and a server's background work. */
export interface HttpServer extends AsyncDisposable {
  readonly address: string
}

export interface HttpServerOptions {
  readonly config: Config
  readonly backends: OpenBackends
  readonly offer: OfferSource
  readonly log: Logger
  /** Whether the server accepts traffic. */
  readonly ready: () => boolean
  /** What the worker beside this server has in memory; absent for a server alone. */
  readonly holdings?: () => Holdings | undefined
}

/** Resolves when the address answers. Rejects with a message that names the variable to change. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { config, backends, offer, log, ready } = options
  const ttlSeconds = config.resultTtlSeconds
  const ids = createJobIds(...backends.secrets)
  const limits = anonymousLimits(config)
  const { webhooks, sender } = await webhookParts(config, backends, log)
  const core = {
    ...backends,
    webhooks,
    ids,
    caller: ({ address }: Credentials) => anonymousCaller(address, limits, config.ipv6Network),
    requests: memoryRateLimiter(),
    space: watchSpace(
      { images: backends.images, log },
      {
        uploads: config.uploadsMb * 2 ** 20,
        results: config.resultsMb * 2 ** 20,
        free: config.freeMb * 2 ** 20,
      },
    ),
    attemptSeconds: config.attemptSeconds,
    offer: () => offer.current(),
    prompts: offer.prompts,
    pictures: pictureReader(),
    ...(options.holdings !== undefined && { holdings: options.holdings }),
    uploadLimits: {
      bytes: config.uploadMb * 2 ** 20,
      pixels: config.uploadMegapixels * 1e6,
      longest: config.uploadSide,
      side: defaultLimits.maxSize,
    },
    ttlSeconds,
    log,
    limits: { ...defaultLimits, promptWindows: config.promptWindows },
    now: () => new Date(),
  }
  const watch = watchJobs(core)
  const imageOrigin = config.storage?.publicEndpoint
  const http = await buildHttp({
    services: createServices({ ...core, watch }, ready),
    log,
    ...(imageOrigin === undefined ? {} : { imageOrigin: new URL(imageOrigin).origin }),
    ...(config.trustedProxies === undefined ? {} : { trustedProxies: config.trustedProxies }),
    traffic: {
      idleMs: config.idleSeconds * 1000,
      bytesPerSecond: config.minKibPerSecond * 1024,
      bufferBytes: Math.max(config.bufferMb, 2 * config.uploadMb) * 2 ** 20,
    },
    connections: { all: config.connections, perAddress: config.clientConnections },
    ...(config.allowedHosts === undefined ? {} : { allowedHosts: config.allowedHosts }),
  })
  await using starting = new AsyncDisposableStack()
  starting.adopt(http, (app) => app.close())
  starting.defer(() => watch.close())
  const address = await listen(http, config)
  starting.adopt(await startHousekeeping({ ...core, watch, sender }), (keeping) => keeping.stop())
  const started = starting.move()
  return { address, [Symbol.asyncDispose]: () => started.disposeAsync() }
}

async function listen(http: FastifyInstance, { host, port }: Config): Promise<string> {
  try {
    await http.listen({ host, port })
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    const reasons: Record<string, string> = {
      EADDRINUSE: `Port ${port} on ${host} is in use by another program. Choose another with PORT, for example PORT=${port === 65_535 ? 8080 : port + 1}.`,
      EACCES: `This user may not listen on port ${port}. Choose one above 1023 with PORT.`,
      EADDRNOTAVAIL: `${host} is not an address of this machine. Correct PACKSHOT_HOST.`,
      ENOTFOUND: `${host} is not an address of this machine. Correct PACKSHOT_HOST.`,
    }
    throw new Error(reasons[String(code)] ?? `Listening on ${host} port ${port} failed: ${cause}`, { cause })
  }
  const bound = http.server.address() as AddressInfo
  const shown = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return `http://${shown === '0.0.0.0' || shown === '[::]' ? 'localhost' : shown}:${bound.port}`
}

/** A setting of 0 is no limit. */
function anonymousLimits(config: Config): CallerLimits {
  const { jobsPerMinute, requestsPerMinute, unitsPerHour, callerJobs, callerUnits } = config
  const resultMinutes = config.resultTtlSeconds / 60
  const uploadMinutes = uploadKeptSeconds(config.resultTtlSeconds) / 60
  const bucket = (name: RateName, amount: number, minutes: number) =>
    amount === 0 ? {} : { [name]: { perMinute: amount / minutes, burst: amount } }
  return {
    ...bucket('rate', jobsPerMinute, 1),
    ...bucket('requests', requestsPerMinute, 1),
    ...bucket('work', unitsPerHour, 60),
    // a bucket that refills while files are kept lets through twice its size in that time
    ...bucket('uploadBytes', (config.callerUploadsMb * 2 ** 20) / 2, uploadMinutes),
    ...bucket('resultBytes', (config.callerResultsMb * 2 ** 20) / 2, resultMinutes),
    unfinished: {
      ...(callerJobs === 0 ? {} : { jobs: callerJobs }),
      ...(callerUnits === 0 ? {} : { units: callerUnits }),
    },
  }
}

/** Warns when everybody who reaches this machine can use the service, and says what to set. */
export function warnIfOpen({ host, port, trustedProxies, jobsPerMinute }: Config, log: Log): void {
  if (isLoopback(host) || trustedProxies !== undefined) return
  const limit = jobsPerMinute === 0 ? ' PACKSHOT_JOBS_PER_MINUTE limits each client.' : ''
  log.warn(
    { host, port },
    `Packshot is open to the network without a login: everybody who reaches ${host} port ${port} can make jobs, upload pictures and see the models. Put a proxy with TLS and access control in front and name it in PACKSHOT_TRUSTED_PROXIES, or set PACKSHOT_HOST=127.0.0.1.${limit}`,
  )
}

function isLoopback(host: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d{1,3}){1,3}|\[?::1\]?|::ffff:127(\.\d{1,3}){3})$/i.test(host)
}
