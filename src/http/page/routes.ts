import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { toAppError } from '../../jobs/errors.ts'
import { bestEffort } from '../../jobs/log.ts'
import { mostPreviews } from '../../jobs/preview-count.ts'
import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import { parseForm } from '../bodies.ts'
import { httpFault } from '../faults.ts'
import type { Hosts } from '../hosts.ts'
import type { Refusals } from '../refusals.ts'
import { routeOf } from '../route.ts'
import type { Services } from '../services.ts'
import { compressPages, isFragment, sendError, sendFragment, sendPage, setErrorHeaders } from './answers.ts'
import { assetRoutes, loadAssets } from './assets.ts'
import { type CardOptions, jobCard } from './card.ts'
import { catalogueRoutes } from './catalogue-routes.ts'
import { deviceRoutes } from './device-routes.ts'
import { chosenModel, type FormState, type PageOffer, requestForm } from './form.ts'
import { formErrors } from './form-errors.ts'
import { type FormValues, readFields, requestBody, valuesOfRequest } from './form-values.ts'
import { galleryRoutes } from './gallery-routes.ts'
import { home, jobPage, renewedForm } from './home.ts'
import { keptPageRoutes } from './kept-routes.ts'
import type { Page } from './layout.ts'
import { lookRoutes } from './look-routes.ts'
import { forChosenModel } from './model-change.ts'
import { modelsPage } from './models-page.ts'
import { leftToPace } from './pace.ts'
import { photoRoutes } from './photo-routes.ts'
import { readBackRoutes } from './read-back-routes.ts'
import { resultRoutes } from './result-routes.ts'
import { refuseCrossSite, setSecurityHeaders } from './security.ts'
import { signInRoutes, toSignIn } from './sign-in.ts'
import { fromWords } from './wording.ts'
import { workspaceRoutes } from './workspace-routes.ts'

export interface PageOptions {
  readonly services: Services
  readonly imageOrigin: string | undefined
  readonly hosts: Hosts
  readonly access: 'open' | 'sign-in'
  readonly refused: Refusals
}

type JobAddress = { Params: { id: string }; Querystring: { stopping?: string } }

/**
 * The page: a form at `/`, a page for each job at `/jobs/:id`, and the fragments that htmx puts in their places.
 * Every address works without JavaScript: a posted form is then answered with a redirect or a whole page.
 */
export async function pageRoutes(
  app: FastifyInstance,
  { services, imageOrigin, hosts, access, refused }: PageOptions,
): Promise<void> {
  app.addHook('onRequest', async (_request, reply) => setSecurityHeaders(reply, imageOrigin))
  await app.register(formbody, { parser: parseForm })
  const assets = await loadAssets()
  await assetRoutes(app, assets)
  const { limits, uploadLimits } = services
  const { catalogues } = services
  const offer = async (): Promise<PageOffer> => {
    const busy = await services.busy()
    return {
      ...services.offer(),
      limits,
      uploadLimits,
      catalogues: catalogues !== undefined,
      ...(busy === undefined ? {} : { pace: { ...busy, secondsPerUnit: busy.secondsPerUnit } }),
    }
  }
  const cardOptions = (request: FastifyRequest): CardOptions => {
    const { models } = services.offer()
    const api = { base: request.publicAddress(), keyed: services.signIn !== undefined }
    return { usual: models[0] ?? { width: 1, height: 1 }, models, api }
  }
  const modelOf = (values: FormValues) => chosenModel(services.offer(), values)
  app.setErrorHandler((thrown, request, reply) => {
    const error = httpFault(thrown)
    if (error.code === 'internal')
      request.log.error({ err: thrown }, 'internal error while answering a page request')
    setSecurityHeaders(reply, imageOrigin)
    if (error.code === 'unauthorized' && access === 'sign-in') return toSignIn(request, reply)
    return sendError(assets, error, request, reply)
  })

  compressPages(app)
  app.addHook('preHandler', async (request) => {
    const { room, open } = routeOf(request).config
    if (isFragment(request) || open === true) return
    const busy = await services.busy()
    request.around = {
      ...(room === undefined ? {} : { room }),
      ...(busy === undefined ? {} : { busy }),
      catalogues: catalogues !== undefined,
    }
  })

  if (access === 'sign-in') signInRoutes(app, { services, assets, hosts, refused })
  if (catalogues !== undefined) catalogueRoutes(app, { services, catalogues, assets, hosts, refused })

  await app.register(photoRoutes, { services, assets, hosts, refused, offer })
  const workspace = workspaceRoutes(app, {
    services,
    hosts,
    card: (view, request) => jobCard(view, cardOptions(request)),
  })

  const withLooks = async (request: FastifyRequest, state: FormState, look?: string): Promise<FormState> => {
    const looks = await workspace.looks(request)
    const isThere = looks?.some(({ name }) => name === look)
    return { ...state, ...(looks && { looks }), ...(isThere && look !== undefined && { look }) }
  }
  const homeOf = async (state: FormState) => home(await offer(), state, { assets })

  deviceRoutes(app, { services, assets, hosts })
  galleryRoutes(app, { services, assets, hosts })
  keptPageRoutes(app, { services, assets, hosts })
  app.get('/models', { config: { room: 'models' } }, (_request, reply) =>
    sendPage(reply, assets, { title: 'Packshot: models', body: modelsPage(services.offer()) }),
  )
  lookRoutes(app, {
    services,
    hosts,
    form: async (values, saved) =>
      requestForm(await offer(), { values, errors: {}, prefilled: false, ...saved }),
  })
  await app.register(async (scope) =>
    readBackRoutes(scope, {
      services,
      assets,
      hosts,
      studio: async (request, fields) => {
        const read = readFields(fields)
        const words = fromWords(read.prompt, modelOf(read).controls)
        const values = { ...read, ...words, background: read.background || words.background }
        return homeOf(await withLooks(request, { values, errors: {}, prefilled: true }))
      },
    }),
  )

  app.get('/', { config: { room: 'studio' } }, async (request, reply) => {
    const { look: wanted } = request.query as { look?: unknown }
    const name = typeof wanted === 'string' ? wanted : undefined
    const filled = await prefill(services, request)
    const start = await withLooks(request, { values: filled, errors: {}, prefilled: false }, name)
    const look = start.looks?.find((each) => each.name === start.look)
    const values = look === undefined ? filled : readFields({ ...look.values })
    const state = { ...start, values, prefilled: values.prompt !== '' }
    const wall = await workspace.wall(request, reply)
    return sendPage(reply, assets, {
      title: 'Packshot',
      body: home(await offer(), state, { assets, wall }),
      frame: 'studio',
    })
  })

  // posted, since a prompt may be too long for an address
  app.post('/form', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const now = await offer()
    const values = forChosenModel(now, readFields(request.body))
    const state = await withLooks(request, { values, errors: {}, prefilled: false })
    if (isFragment(request)) return sendFragment(reply, renewedForm(now, state, assets))
    return sendPage(reply, assets, { title: 'Packshot', body: home(now, state, { assets }), frame: 'studio' })
  })

  app.post('/jobs', async (request, reply) => {
    const now = await offer()
    const values = forChosenModel(now, readFields(request.body))
    try {
      refuseCrossSite(request, hosts)
      // a page of its own does not show them
      const looks = isFragment(request) ? { previews: mostPreviews } : {}
      const view = await services.submit(
        { ...requestBody(leftToPace(now, values, modelOf(values)), modelOf(values)), ...looks },
        { caller: request.caller, base: request.publicAddress() },
      )
      await workspace.add(view, request, reply)
      if (!isFragment(request)) return reply.redirect(`/jobs/${view.id}`, 303)
      return sendFragment(reply, jobCard(view, { ...cardOptions(request), isNew: true }))
    } catch (thrown) {
      const error = toAppError(thrown)
      refused(request, error)
      const plain = { values, errors: formErrors(error, values), prefilled: false }
      const state = await withLooks(request, plain)
      setErrorHeaders(reply, error)
      if (error.code === 'invalid_request') reply.code(422)
      if (!isFragment(request)) {
        return sendPage(reply, assets, {
          title: 'Packshot: not sent',
          body: home(now, state, { assets }),
          frame: 'studio',
        })
      }
      reply.headers({ 'hx-retarget': '#request', 'hx-reswap': 'outerHTML' })
      return sendFragment(reply, requestForm(now, state))
    }
  })

  app.get<JobAddress>('/jobs/:id', async (request, reply) => {
    const view = await services.view(request.params.id, request.caller)
    return sendPage(reply, assets, pageOfJob(view, { ...cardOptions(request), alone: true }))
  })

  resultRoutes(app, {
    services,
    assets,
    hosts,
    accept: async (view, request, reply) => {
      await workspace.add(view, request, reply)
      return jobCard(view, { ...cardOptions(request), isNew: true })
    },
    filled: async (fields) => {
      return requestForm(await offer(), { values: readFields(fields), errors: {}, prefilled: true })
    },
  })

  app.get<JobAddress>('/jobs/:id/card', async (request, reply) => {
    const stopping = request.query.stopping === '1'
    const { id } = request.params
    try {
      const view = await services.view(id, request.caller)
      return sendFragment(reply, jobCard(view, { ...cardOptions(request), stopping }))
    } catch (thrown) {
      const error = toAppError(thrown)
      const line = error.code === 'expired' ? await workspace.line(id, request) : undefined
      if (line === undefined) throw thrown
      setErrorHeaders(reply, error)
      return sendFragment(reply, line)
    }
  })

  app.post<JobAddress>('/jobs/:id/cancel', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const keep = (request.body as { keep?: unknown } | undefined)?.keep === '1'
    const view = await services.cancel(request.params.id, request.caller, { keep })
    if (!isFragment(request)) return reply.redirect(`/jobs/${view.id}`, 303)
    return sendFragment(reply, jobCard(view, { ...cardOptions(request), stopping: true }))
  })
}

/** The form as prefilled by a link: from the settings in the URL or, for a long prompt, from those of a job. */
async function prefill(services: Services, { query, caller, log }: FastifyRequest): Promise<FormValues> {
  const { from, ...fields } = { from: undefined, ...(query as Record<string, unknown>) }
  const given = readFields(fields)
  if (typeof from !== 'string') return given
  // the form works without it
  const view = await bestEffort(
    log,
    'reading the job that a form begins with',
    services.view(from, caller),
    'debug',
  )
  if (view?.request === undefined) return given
  const { seed, count } = given
  const model = services.offer().models.find(({ name }) => name === view.request?.model)
  const values = valuesOfRequest(view.request, model)
  return { ...values, seed: seed || values.seed, count: count || values.count }
}

function pageOfJob(view: JobView, options: CardOptions): Page {
  const waiting = !isFinal(view)
  return {
    title: waiting ? 'Packshot: on its way' : 'Packshot: your picture',
    body: jobPage(jobCard(view, options), waiting),
    refreshSeconds: waiting ? reloadSeconds(view) : undefined,
  }
}

/** A reload costs a whole page, so less often than a card is asked for; but somebody waits. */
function reloadSeconds({ poll_after_ms = 2000 }: JobView): number {
  return Math.min(10, Math.max(1, Math.ceil(poll_after_ms / 1000)))
}
