import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Catalogues, controlNames } from '../../jobs/catalogue/catalogues.ts'
import { toAppError } from '../../jobs/errors.ts'
import type { Hosts } from '../hosts.ts'
import type { Refusals } from '../refusals.ts'
import { isFragment, sendFragment, sendPage, setErrorHeaders } from './answers.ts'
import type { Assets } from './assets.ts'
import {
  type CatalogueValues,
  cataloguePage,
  firstValues,
  linesAtOnce,
  runLines,
  runPage,
  runPiece,
  runState,
} from './catalogue.ts'
import { refuseCrossSite } from './security.ts'

interface PageOptions {
  readonly catalogues: Catalogues
  readonly assets: Assets
  readonly hosts: Hosts
  readonly refused: Refusals
}

type RunAddress = { Params: { id: string }; Querystring: { cursor?: string; more?: string } }

/** `/catalogues`, a page for each run, and the fragments that htmx puts in their places. All of it works without JavaScript. */
export function catalogueRoutes(app: FastifyInstance, options: PageOptions): void {
  const { catalogues, assets, hosts, refused } = options

  const sendForm = async (
    request: FastifyRequest,
    reply: FastifyReply,
    values: CatalogueValues,
    error?: ReturnType<typeof toAppError>,
  ) => {
    const runs = await catalogues.list(request.caller)
    const title = error === undefined ? 'Packshot: a catalogue' : 'Packshot: not started'
    return sendPage(reply, assets, { title, body: cataloguePage(values, runs, error) })
  }

  app.get('/catalogues', { config: { room: 'catalogue' } }, async (request, reply) =>
    sendForm(request, reply, firstValues),
  )

  app.post(
    '/catalogues',
    { bodyLimit: catalogues.bodyBytes, config: { room: 'catalogue' } },
    async (request, reply) => {
      const values = valuesOf(request.body)
      try {
        refuseCrossSite(request, hosts)
        const { list: csv, prompt, name, variants } = values
        const body = { csv, template: { prompt }, name, variants: Number(variants) }
        const run = await catalogues.create(body, { caller: request.caller, base: request.publicAddress() })
        return reply.redirect(`/catalogues/${run.id}`, 303)
      } catch (thrown) {
        const error = toAppError(thrown)
        refused(request, error)
        setErrorHeaders(reply, error)
        if (error.code === 'invalid_request') reply.code(422)
        return sendForm(request, reply, values, error)
      }
    },
  )

  app.get<RunAddress>('/catalogues/:id', { config: { room: 'catalogue' } }, async (request, reply) => {
    const { id } = request.params
    const run = await catalogues.view(id, request.caller)
    const cursor = request.query.cursor ?? '0'
    const page = await catalogues.items(id, request.caller, { cursor, limit: linesAtOnce })
    const refreshSeconds = run.poll_after_ms === undefined ? undefined : 5
    return sendPage(reply, assets, {
      title: 'Packshot: a run',
      body: runPage(run, page, Number(cursor)),
      refreshSeconds,
    })
  })

  app.get<RunAddress>('/catalogues/:id/state', async (request, reply) =>
    sendFragment(reply, runState(await catalogues.view(request.params.id, request.caller))),
  )

  app.get<RunAddress>('/catalogues/:id/lines', async (request, reply) => {
    const { id } = request.params
    const { cursor = '0', more } = request.query
    const page = await catalogues.items(id, request.caller, { cursor, limit: linesAtOnce })
    return sendFragment(reply, (more === '1' ? runLines : runPiece)(id, Number(cursor), page))
  })

  for (const name of controlNames) {
    app.post<RunAddress>(`/catalogues/:id/${name}`, async (request, reply) => {
      refuseCrossSite(request, hosts)
      const run = await catalogues.control(request.params.id, request.caller, name)
      if (!isFragment(request)) return reply.redirect(`/catalogues/${run.id}`, 303)
      return sendFragment(reply, runState(run))
    })
  }
}

function valuesOf(body: unknown): CatalogueValues {
  const given = body as Partial<Record<keyof CatalogueValues, unknown>> | undefined
  const text = (name: keyof CatalogueValues) => {
    const value = given?.[name]
    return typeof value === 'string' ? value : firstValues[name]
  }
  return { list: text('list'), prompt: text('prompt'), name: text('name'), variants: text('variants') }
}
