import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { anonymous } from '../../jobs/caller.ts'
import { type Catalogues, controlNames } from '../../jobs/catalogue/catalogues.ts'
import type { CatalogueView } from '../../jobs/catalogue/view.ts'
import { AppError, toAppError } from '../../jobs/errors.ts'
import { describeValue } from '../../jobs/wording.ts'
import type { Hosts } from '../hosts.ts'
import type { Refusals } from '../refusals.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment, sendPage, setErrorHeaders } from './answers.ts'
import type { Assets } from './assets.ts'
import { type CatalogueValues, cataloguePage, firstValues } from './catalogue.ts'
import { readProducts } from './catalogue-list.ts'
import { linesAtOnce, runLines, runPage, runPiece, runState } from './catalogue-run.ts'
import { setsOfRun } from './catalogue-sets.ts'
import { secondsOfPicture } from './estimate.ts'
import { refuseCrossSite } from './security.ts'
import { findWorkspace, openWorkspace, renewCookie } from './workspace-cookie.ts'

interface PageOptions {
  readonly services: Services
  readonly catalogues: Catalogues
  readonly assets: Assets
  readonly hosts: Hosts
  readonly refused: Refusals
}

type RunAddress = { Params: { id: string }; Querystring: { cursor?: string; more?: string } }

/** `/catalogues`, a page for each run, and the fragments that htmx puts in their places. All of it works without JavaScript. */
export function catalogueRoutes(app: FastifyInstance, options: PageOptions): void {
  const { services, catalogues, assets, hosts, refused } = options
  const { workspaces } = services

  /** The runs of a caller with a name, else those of the visitor's workspace; undefined if they cannot be read. */
  const runsOf = async (request: FastifyRequest): Promise<readonly CatalogueView[] | undefined> => {
    if (request.caller.name !== anonymous) return catalogues.list(request.caller)
    const workspace = findWorkspace(workspaces, request)
    const ids = workspace === undefined ? [] : await workspace.runs()
    if (workspace === undefined || ids === undefined) return ids === undefined ? undefined : []
    const gone: string[] = []
    const views = await Promise.all(
      ids.map((id) =>
        catalogues.view(id, request.caller).catch((thrown: unknown) => {
          const { code } = toAppError(thrown)
          if (code === 'unavailable') throw thrown
          gone.push(id)
          return undefined
        }),
      ),
    ).catch(() => undefined)
    if (gone.length > 0) await workspace.removeRuns(gone)
    return views?.filter((view) => view !== undefined)
  }

  const sendForm = async (
    request: FastifyRequest,
    reply: FastifyReply,
    values: CatalogueValues,
    error?: AppError,
  ) => {
    const workspace = findWorkspace(workspaces, request)
    if (error === undefined) renewCookie(workspaces, workspace, request, reply)
    const [runs, looks, busy] = await Promise.all([
      runsOf(request),
      workspace === undefined ? [] : workspace.looks(),
      services.busy(),
    ])
    const seconds = secondsOfPicture(services.offer(), busy)
    const title = error === undefined ? 'Packshot: catalogue' : 'Packshot: not started'
    const page = { values, runs, looks, seconds, ...(error === undefined ? {} : { error }) }
    return sendPage(reply, assets, { title, body: cataloguePage(page) })
  }

  app.get('/catalogues', { config: { room: 'catalogue' } }, async (request, reply) =>
    sendForm(request, reply, firstValues),
  )

  /** The request of a run, from what was ticked and typed. */
  const bodyOf = async (request: FastifyRequest, values: CatalogueValues) => {
    const { list, prompt, name, variants, finish_preset: preset, sets } = values
    const saved = values.looks.length === 0 ? [] : await findWorkspace(workspaces, request)?.looks()
    if (saved === undefined) throw new AppError('unavailable', 'Saved looks cannot be read at the moment.')
    const looks = saved.filter((look) => values.looks.includes(look.name))
    const [gone] = values.looks.filter((wanted) => !looks.some((look) => look.name === wanted))
    if (gone !== undefined)
      throw new AppError('invalid_request', `The look ${describeValue(gone)} is not saved any more.`, {
        param: 'looks',
      })
    const { rows, photos } = await readProducts(list, {
      texts: [prompt, name],
      photos: photosIn(values.photos),
      mostRows: catalogues.mostRows,
    })
    const made = setsOfRun(services.offer(), { prompt, preset, sets, looks, photos })
    return { rows, template: {}, sets: made, name, variants: Number(variants) }
  }

  app.post(
    '/catalogues',
    { bodyLimit: catalogues.bodyBytes, config: { room: 'catalogue' } },
    async (request, reply) => {
      const values = valuesOf(request.body)
      try {
        refuseCrossSite(request, hosts)
        const body = await bodyOf(request, values)
        const run = await catalogues.create(body, { caller: request.caller, base: request.publicAddress() })
        if (request.caller.name === anonymous) {
          await openWorkspace(workspaces, request, reply).addRun(run.id)
        }
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

/** Unticked boxes are not sent, so a form that was sent has no defaults for them. */
function valuesOf(body: unknown): CatalogueValues {
  const given = (body ?? {}) as Readonly<Record<string, unknown>>
  const text = (name: string, otherwise = '') => {
    const value = given[name]
    return typeof value === 'string' ? value : otherwise
  }
  const ticked = (kind: 'set' | 'look') =>
    Object.keys(given).flatMap((name) => (name.startsWith(`${kind}:`) ? [name.slice(kind.length + 1)] : []))
  return {
    list: text('list'),
    prompt: text('prompt', firstValues.prompt),
    name: text('name', firstValues.name),
    variants: text('variants', firstValues.variants),
    finish_preset: text('finish_preset'),
    photos: text('photos'),
    sets: ticked('set'),
    looks: ticked('look'),
  }
}

function photosIn(text: string): Readonly<Record<string, string>> {
  try {
    const given: unknown = JSON.parse(text || '{}')
    return Object.fromEntries(
      Object.entries(given ?? {}).flatMap(([name, id]) => (typeof id === 'string' ? [[name, id]] : [])),
    )
  } catch {
    return {}
  }
}
