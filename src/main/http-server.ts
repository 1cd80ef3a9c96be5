import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { memoryRateLimiter } from '../adapters/memory/rate-limiter.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import { thumbnailer } from '../adapters/pictures/thumbnails.ts'
import type { Config } from '../config.ts'
import { buildHttp } from '../http/app.ts'
import { createServices } from '../http/services.ts'
import { type CataloguesDeps, createCatalogues } from '../jobs/catalogue/catalogues.ts'
import { defaultLimits } from '../jobs/fields.ts'
import type { Holdings } from '../jobs/holdings.ts'
import { createJobIds } from '../jobs/job-id.ts'
import { type Reports, reportedImages } from '../jobs/reports.ts'
import { startHousekeeping } from '../jobs/serving/housekeeping.ts'
import { watchNeighbours } from '../jobs/serving/neighbours.ts'
import { createReturns } from '../jobs/serving/returns.ts'
import { sharingLoad } from '../jobs/serving/shared-load.ts'
import { watchSpace } from '../jobs/serving/space.ts'
import { watchJobs } from '../jobs/serving/wait.ts'
import type { OfferSource } from '../library/offer-source.ts'
import { packageVersion } from '../version.ts'
import type { OpenBackends } from './backends.ts'
import { keptLimitsOf, openCallers, pageOf } from './callers.ts'
import { readDependencies, readQueue, readServer } from './observed/gauges.ts'
import { measuredBackends } from './observed/measured.ts'
import type { Measuring } from './observed/metrics.ts'
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
  readonly reports: Reports
  /** Whether the server accepts traffic. */
  readonly ready: () => boolean
  readonly measuring: Measuring
  /** What the worker beside this server has in memory; absent for a server alone. */
  readonly holdings?: () => Holdings | undefined
}

/** Resolves when the address answers. Rejects with a message that names the variable to change. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { config, offer, log, reports, ready, measuring } = options
  const { metrics } = measuring
  const measured = measuredBackends(options.backends, metrics, false)
  const { backends } = measured
  const ttlSeconds = config.resultTtlSeconds
  const ids = createJobIds(...backends.secrets)
  await using starting = new AsyncDisposableStack()
  const requests = memoryRateLimiter()
  const callers = await openCallers({ config, requests, secrets: backends.secrets, log })
  starting.defer(() => callers.close())
  const { webhooks, sender } = await webhookParts(
    config,
    { ...backends, metrics },
    log,
    callers.webhookGeneration,
  )
  const core = {
    ...backends,
    status: sharingLoad(backends.status),
    images: reportedImages(backends.images, reports),
    metrics,
    returns: createReturns(),
    webhooks,
    ids,
    caller: callers.caller,
    ...(callers.signIn === undefined ? {} : { signIn: callers.signIn }),
    ...(callers.current === undefined ? {} : { current: callers.current }),
    requests,
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
    keptLimits: keptLimitsOf(config),
    thumbnails: thumbnailer({ atOnce: config.thumbnailsAtOnce }),
    ...(options.holdings !== undefined && { holdings: options.holdings }),
    uploadLimits: {
      bytes: config.uploadMb * 2 ** 20,
      pixels: config.uploadMegapixels * 1e6,
      longest: config.uploadSide,
      kept: config.uploadKeptMegapixels * 1e6,
    },
    ttlSeconds,
    workspaceLimits: {
      jobs: config.workspaceJobs,
      looks: config.workspaceLooks,
      seconds: config.workspaceDays * 86_400,
    },
    log,
    limits: {
      ...defaultLimits,
      promptWindows: config.promptWindows,
      finishPixels: config.finishPixels,
      precision: config.precision,
    },
    now: () => new Date(),
  }
  const watch = watchJobs(core, {
    // behind a proxy one client may hold any number: some connections stay for all others
    mostWaits: Math.max(1, Math.floor(config.connections * 0.4)),
    mostFollowers: config.eventStreams,
    mostOfAccount: config.callerEventStreams,
  })
  const catalogues = createCatalogues({
    ...core,
    ...catalogueSettings(config),
    callerNamed: callers.named,
  })
  const imageOrigin = config.storage?.publicEndpoint
  const http = await buildHttp({
    services: createServices({ ...core, watch, catalogues }, ready),
    log,
    reports,
    metrics,
    page: pageOf(config),
    ...(imageOrigin === undefined ? {} : { imageOrigin: new URL(imageOrigin).origin }),
    ...(config.trustedProxies === undefined ? {} : { trustedProxies: config.trustedProxies }),
    traffic: {
      idleMs: config.idleSeconds * 1000,
      bytesPerSecond: config.minKibPerSecond * 1024,
      bufferBytes: Math.max(config.bufferMb, 3 * config.uploadMb, 2 * config.catalogueMb) * 2 ** 20,
    },
    holdSeconds: config.holdSeconds,
    connections: { all: config.connections, perAddress: config.clientConnections },
    ...(config.allowedHosts === undefined ? {} : { allowedHosts: config.allowedHosts }),
  })
  starting.adopt(http, (app) => app.close())
  starting.defer(() => watch.close())
  readDependencies(measuring, measured)
  readQueue(measuring, backends)
  readServer(measuring, http.server, config.storage === undefined ? backends.images : undefined)
  const address = await listen(http, config)
  starting.adopt(await startHousekeeping({ ...core, watch, sender }), (keeping) => keeping.stop())
  starting.adopt(catalogues.start(), (feeder) => feeder.stop())
  if (config.statusUrl !== undefined) {
    const neighbours = watchNeighbours({
      ...core,
      secrets: backends.secrets,
      version: await packageVersion(),
    })
    starting.defer(() => neighbours.stop())
    void neighbours.look()
  }
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

function catalogueSettings(config: Config): Pick<CataloguesDeps, 'catalogueTtlSeconds' | 'catalogueLimits'> {
  return {
    catalogueTtlSeconds: config.catalogueTtlSeconds,
    catalogueLimits: {
      rows: config.catalogueRows,
      pictures: config.cataloguePictures,
      bytes: config.catalogueMb * 2 ** 20,
      runs: config.catalogueRuns,
    },
  }
}
