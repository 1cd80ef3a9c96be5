import fastifySwagger from '@fastify/swagger'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { AppError } from '../jobs/errors.ts'
import { type Metrics, noMetrics } from '../jobs/metrics.ts'
import type { Reports } from '../jobs/reports.ts'
import { packageVersion } from '../version.ts'
import { type KnownRoutes, knownRoutes } from './allowed-methods.ts'
import { catalogueRoutes } from './api/catalogues.ts'
import { descriptionRoute } from './api/description.ts'
import { eventRoutes } from './api/events.ts'
import { finishRoutes } from './api/finishes.ts'
import { healthRoutes } from './api/health.ts'
import { imageRoutes, originalRoutes, thumbnailRoutes } from './api/images.ts'
import { jobRoutes } from './api/jobs.ts'
import { keptRoutes } from './api/kept.ts'
import { modelRoutes } from './api/models.ts'
import { pictureRoutes } from './api/pictures.ts'
import { uploadRoutes } from './api/uploads.ts'
import { webhookRoutes } from './api/webhooks.ts'
import { readJsonBodies } from './bodies.ts'
import { answerClientError, answerOddRequests } from './client-error.ts'
import { type ConnectionLimits, limitConnections, limitRequestsInARow } from './connections.ts'
import { recogniseCallers } from './credentials.ts'
import { a1111Routes } from './dialects/a1111/routes.ts'
import { falRoutes } from './dialects/fal/routes.ts'
import { defaultHoldSeconds } from './dialects/held.ts'
import { huggingFaceRoutes } from './dialects/huggingface/routes.ts'
import { openAiRoutes } from './dialects/openai/routes.ts'
import { replicateRoutes } from './dialects/replicate/routes.ts'
import { bodyLimit, httpFault, sendFault } from './faults.ts'
import { firstLook } from './first-look.ts'
import { hostNames } from './hosts.ts'
import { countRefusal, measureAnswers } from './measure.ts'
import { observeRequests } from './observe.ts'
import { errorPages, wantsPage } from './page/answers.ts'
import { pageRoutes } from './page/routes.ts'
import { permissionsPolicy, requireOwnPage } from './page/security.ts'
import { trustedPeers } from './peer.ts'
import { serveUnderPrefix } from './prefix.ts'
import { publicAddress } from './public-address.ts'
import { sayLimits } from './rate-headers.ts'
import { type Refusals, refusals } from './refusals.ts'
import { routeOf } from './route.ts'
import { serializerOf } from './serializers.ts'
import type { Services } from './services.ts'
import { defaultTrafficLimits, type TrafficLimits } from './traffic.ts'
import { isConnected, limitTransfers } from './transfers.ts'

export interface HttpDeps {
  readonly services: Services
  readonly log: FastifyBaseLogger
  /** Another origin that browsers may be redirected to for pictures. */
  readonly imageOrigin?: string
  /** Addresses (comma-separated, with masks) whose X-Forwarded headers are believed. */
  readonly trustedProxies?: string
  /** Names (comma-separated) that this server answers to, beside `localhost` and addresses. */
  readonly allowedHosts?: string
  readonly traffic?: TrafficLimits
  /** How the page is reached; absent: by everybody. */
  readonly page?: PageAccess
  /** Absent: no limit. */
  readonly connections?: ConnectionLimits
  /** Where faults are reported, beside the log. */
  readonly reports?: Reports
  /** How long the calls of other APIs that wait for pictures are held open. */
  readonly holdSeconds?: number
  /** Absent: nothing is measured. */
  readonly metrics?: Metrics
}

/** `sign-in`: with a key, exchanged for the session of a browser. `off`: there is no page. */
export type PageAccess = 'open' | 'sign-in' | 'off'

/** Sends an error in the client's format: a page to a browser, JSON to everything else. */
type Answer = (error: AppError, request: FastifyRequest, reply: FastifyReply) => FastifyReply

/** The API is not a page: nothing in its answers may run, be framed or be read as another type. */
const securityHeaders = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': permissionsPolicy,
}

/**
 * API and page, ready to listen or to be injected into. Every error answer is an `ErrorBody`, except for
 * a browser that follows a link, which gets a page.
 */
export async function buildHttp({
  services,
  log,
  imageOrigin,
  trustedProxies,
  allowedHosts,
  traffic = defaultTrafficLimits,
  connections,
  holdSeconds = defaultHoldSeconds,
  page: access = 'open',
  reports,
  metrics = noMetrics,
}: HttpDeps): Promise<FastifyInstance> {
  const sendPage = await errorPages()
  const trusts = trustedPeers(trustedProxies)
  const hosts = { allowed: hostNames(allowedHosts), trusts }
  const answer: Answer = (error, request, reply) =>
    access !== 'off' && wantsPage(request) ? sendPage(error, reply) : sendFault(reply, error)
  /** For what is refused without being thrown. */
  const refuse: Answer = (error, request, reply) => {
    countRefusal(metrics, error)
    return answer(error, request, reply)
  }
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit,
    // a time limit for the whole request would not grow with its body: see traffic.ts
    requestTimeout: 0,
    // longer than the longest wait for a job: what moves is watched more closely
    connectionTimeout: Math.max(60_000, 2 * traffic.idleMs),
    http: {
      headersTimeout: traffic.idleMs,
      connectionsCheckingInterval: Math.max(100, Math.ceil(traffic.idleMs / 10)),
      // a missing Host header is answered like other faults
      requireHostHeader: false,
    },
    // a request on a kept connection is still served, with `connection: close`: Fastify's own 503
    // has neither a reason nor Retry-After
    return503OnClosing: false,
    trustProxy: trustedProxies === undefined ? false : (address: string) => trusts(address),
    routerOptions: { maxParamLength: 256 },
    clientErrorHandler: answerClientError,
    frameworkErrors: (_error, request, reply) => {
      refuse(new AppError('not_found', `There is nothing at ${shorten(request.url)}.`), request, reply)
    },
  })
  // fastify parses text/plain by default: a JSON body sent as text would then be a request that any site can send.
  app.removeContentTypeParser('text/plain')
  readJsonBodies(app)
  app.setSerializerCompiler(({ schema }) => serializerOf(schema as object))
  // all headers are seen, and too many are refused
  app.server.maxHeadersCount = 0
  answerOddRequests(app.server)
  if (connections !== undefined) limitConnections(app.server, connections, trusts)
  const inARow = limitRequestsInARow()
  app.decorateRequest('route')
  app.decorateRequest('publicAddress', function () {
    return publicAddress(this, trusts)
  })
  observeRequests(app, reports)
  const recognise = recogniseCallers(app, services)
  const noteRefusal = refusals(log)
  const refused: Refusals = (request, thrown) => {
    countRefusal(metrics, httpFault(thrown))
    noteRefusal(request, thrown)
  }
  app.addHook('onRequest', async (request, reply) => {
    firstLook(request, hosts)
    if (isConnected(request)) inARow(request.raw.socket, reply.raw)
    await recognise(request)
    if (request.signedIn) requireOwnPage(request, hosts)
    const path = routeOf(request).url ?? ''
    if (!path.startsWith('/healthz/') && !path.startsWith('/assets/')) {
      await services.count(request.caller)
    }
    // before its body is read
    return request.is404 ? answerNothing(refuse, routes, request, reply) : undefined
  })
  const routes = knownRoutes()
  app.decorate('knownRoutes', routes)
  app.addHook('onRoute', ({ url, method }) => routes.add(url, method))
  app.addHook('onError', async (request, _reply, error) => refused(request, error))
  const measure = measureAnswers(metrics)
  app.addHook('onSend', (request, reply, payload, done) => {
    setMissingHeaders(reply)
    // A draining server sends its clients to another one: a kept connection would stay until the end.
    if (!services.ready()) reply.header('connection', 'close')
    measure(request, reply, payload)
    done(null, payload)
  })
  sayLimits(app, services)
  limitTransfers(app, traffic)
  serveUnderPrefix(app, trusts)
  app.setErrorHandler((thrown, request, reply) => answerFault(answer, thrown, request, reply))
  app.setNotFoundHandler((request, reply) => answerNothing(refuse, routes, request, reply))

  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Packshot',
        version: await packageVersion(),
        description: 'Studio photos of products from words.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
    },
  })
  await app.register(async (api) => {
    jobRoutes(api, services)
    eventRoutes(api, services)
    imageRoutes(api, services)
    originalRoutes(api, services)
    thumbnailRoutes(api, services)
    pictureRoutes(api, services)
    keptRoutes(api, services)
    modelRoutes(api, services)
    finishRoutes(api)
    webhookRoutes(api, services)
    healthRoutes(api, services)
    await api.register(async (uploads) => uploadRoutes(uploads, services))
    await api.register(async (runs) => catalogueRoutes(runs, services.catalogues))
    descriptionRoute(api)
  })
  const dialect = { services, holdSeconds }
  await app.register(openAiRoutes, dialect)
  await app.register(a1111Routes, dialect)
  await app.register(huggingFaceRoutes, dialect)
  await app.register(replicateRoutes, dialect)
  await app.register(falRoutes, dialect)
  if (access === 'off') return app
  await app.register(async (page) => {
    page.addHook('onRoute', (route) => {
      route.schema = { ...route.schema, hide: true }
    })
    await page.register(pageRoutes, { services, imageOrigin, hosts, access, refused })
  })
  return app
}

function setMissingHeaders(reply: FastifyReply): void {
  for (const [name, value] of Object.entries(securityHeaders)) {
    if (!reply.hasHeader(name)) reply.header(name, value)
  }
  if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
}

function answerFault(
  answer: Answer,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const error = httpFault(thrown)
  if (error.code === 'internal')
    request.log.error({ err: thrown, url: request.url }, 'internal error while answering a request')
  return answer(error, request, reply)
}

function answerNothing(
  answer: Answer,
  routes: KnownRoutes,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const path = request.url.split('?', 1)[0] ?? ''
  const methods = routes.methodsOf(path)
  if (methods.length === 0) {
    return answer(new AppError('not_found', `There is nothing at ${shorten(path)}.`), request, reply)
  }
  const allow = methods.join(', ')
  reply.header('allow', allow)
  const message = `${request.method} is not allowed for ${shorten(path)}; allowed: ${allow}.`
  return answer(new AppError('method_not_allowed', message), request, reply)
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text
}
