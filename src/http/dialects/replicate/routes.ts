import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { anonymous } from '../../../jobs/caller.ts'
import { AppError } from '../../../jobs/errors.ts'
import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'
import { describeValue } from '../../../jobs/wording.ts'
import { beDialect, bodyLimitFor, type DialectOptions } from '../dialect.ts'
import { streamFollowed } from '../followed.ts'
import { submitWithPictures } from '../given-pictures.ts'
import { nameJobs } from '../held.ts'
import { fieldsOf, readJsonOrNothing } from '../json-bodies.ts'
import { modelCalled } from '../named-model.ts'
import { progressLine } from '../progress-line.ts'
import { sendReplicateFault } from './faults.ts'
import { fileRoutes } from './files.ts'
import { requestOf } from './input.ts'
import { modelOfVersion, modelView } from './models.ts'
import { predictionOf } from './prediction.ts'

/** Predictions as Replicate's API has them, for its official clients with `baseUrl` .../v1. Ids are those of the jobs. */

type ById = { Params: { id: string } }
type OfModel = { Params: { owner: string; name: string } }

/**
 * Seconds; also those of a `Prefer: wait` without a number. Proxies close a connection that is silent for longer; the
 * client polls after it.
 */
const longestWait = 50

export async function replicateRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { services } = options
  const most = bodyLimitFor(services)
  beDialect(app)
  readJsonOrNothing(app, most)
  app.setErrorHandler((thrown, request, reply) => sendReplicateFault(thrown, { request, reply, most }))

  const shown = (request: FastifyRequest, view: JobView) => {
    const base = request.publicAddress()
    const stream = `${base}/v1/streams/${services.followingGrant(view.id, request.caller)}`
    return predictionOf(view, { base, stream })
  }

  const create = async (request: FastifyRequest, reply: FastifyReply, model: string | undefined) => {
    const fields = fieldsOf(request.body)
    const wanted = { ...requestOf(fields.input, model), ...webhookOf(fields) }
    const view = await submitWithPictures(services, request, wanted)
    nameJobs(reply, [view])
    const seconds = waitOf(request)
    const latest = seconds === undefined ? view : await waited(request, reply, { view, seconds })
    const prediction = shown(request, latest)
    if (isFinal(latest)) return reply.code(201).send(prediction)
    // its client takes every other status for the end
    return reply.code(seconds === undefined ? 201 : 202).send({ ...prediction, status: 'starting' })
  }

  const waited = async (
    { caller }: FastifyRequest,
    reply: FastifyReply,
    { view, seconds }: { readonly view: JobView; readonly seconds: number },
  ) => {
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    return services.untilFinal(view.id, caller, { ms: seconds * 1000, signal: gone.signal })
  }

  app.post('/v1/predictions', { bodyLimit: most }, (request, reply) => {
    const { version, model } = fieldsOf(request.body)
    return create(request, reply, modelOfVersion(version ?? model, services.offer()))
  })
  for (const path of ['/v1/models/:owner/:name/predictions', '/v1/deployments/:owner/:name/predictions']) {
    app.post<OfModel>(path, { bodyLimit: most }, (request, reply) =>
      create(request, reply, modelCalled(request.params.name, services.offer()).name),
    )
  }

  app.get<{ Querystring: { cursor?: string } }>('/v1/predictions', async (request) => {
    const { caller } = request
    // without a key nobody has a list of its own
    if (caller.name === anonymous) return { previous: null, next: null, results: [] }
    const { jobs, next } = await services.list(caller, { cursor: request.query.cursor })
    const address = `${request.publicAddress()}/v1/predictions?cursor=${next}`
    const results = jobs.map((view) => shown(request, view))
    return { previous: null, next: next === undefined ? null : address, results }
  })

  app.get<ById>('/v1/predictions/:id', async (request) =>
    shown(request, await services.view(request.params.id, request.caller)),
  )

  app.post<ById>('/v1/predictions/:id/cancel', async (request) =>
    shown(request, await services.cancel(request.params.id, request.caller)),
  )

  const config = { open: true }
  app.get<{ Params: { grant: string } }>('/v1/streams/:grant', { config }, (request, reply) => {
    const { id, caller } = services.followingGranted(request.params.grant, request.caller)
    const base = request.publicAddress()
    return streamFollowed(reply, {
      follow: (signal) => services.follow(id, caller, { signal }),
      eventsOf: (view) => eventsOf(view, base),
      broken: () => [{ event: 'error', data: 'The prediction can no longer be followed; get it by its id.' }],
    })
  })

  app.get<OfModel>('/v1/models/:owner/:name', (request) => {
    const model = modelCalled(request.params.name, services.offer())
    return modelView(model, services.limits, request.publicAddress())
  })

  app.get('/v1/webhooks/default/secret', async ({ caller }) => ({
    key: await services.webhookSecret(caller),
  }))

  app.get('/v1/account', ({ caller: { name } }) => ({ type: 'user', username: name, name, github_url: null }))

  await app.register(async (files) => fileRoutes(files, options))
}

/** Only the end is sent: with a filter that leaves it out there is no webhook. Throws `invalid_request`. */
function webhookOf({ webhook, webhook_events_filter: events }: Readonly<Record<string, unknown>>) {
  if (webhook === undefined || webhook === null || webhook === '') return {}
  if (typeof webhook !== 'string') {
    const message = `webhook must be an address, but was ${describeValue(webhook)}.`
    throw new AppError('invalid_request', message, { param: 'webhook' })
  }
  if (Array.isArray(events) && !events.includes('completed')) return {}
  return { webhook: { url: webhook, form: 'replicate' } }
}

/** Seconds of `Prefer: wait` and `Prefer: wait=N`; undefined if there is none. */
function waitOf({ headers }: FastifyRequest): number | undefined {
  const [wait, seconds] =
    /(?:^|[,;])\s*wait(?:\s*=\s*"?(\d{1,9})"?)?\s*(?:$|[,;])/i.exec(String(headers.prefer ?? '')) ?? []
  if (wait === undefined) return undefined
  return Math.min(longestWait, Number(seconds ?? longestWait))
}

/** What the client's `stream()` knows: `logs`, `output` for each picture, `error`, and `done` at the end. */
function eventsOf(view: JobView, base: string) {
  const line = progressLine(view)
  const events = line === undefined ? [] : [{ event: 'logs', data: `${line}\n` }]
  if (!isFinal(view)) return events
  if (view.status === 'succeeded') {
    events.push(...view.images.map(({ link }) => ({ event: 'output', data: base + link })))
    return [...events, { event: 'done', data: '{}' }]
  }
  if (view.status === 'canceled') return [...events, { event: 'done', data: '{"reason":"canceled"}' }]
  const data = view.error?.message ?? 'The prediction failed.'
  return [...events, { event: 'error', data }, { event: 'done', data: '{"reason":"error"}' }]
}
