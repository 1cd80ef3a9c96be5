import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment } from './answers.ts'
import type { Html } from './html.ts'
import { busyNote } from './navigation.ts'
import { refuseCrossSite } from './security.ts'
import { findWorkspace, openWorkspace, renewCookie } from './workspace-cookie.ts'
import { cardsAtOnce, goneLine, wallCards, wallUnavailable } from './workspace-wall.ts'

interface WorkspaceOptions {
  readonly services: Services
  readonly hosts: Hosts
  readonly card: (view: JobView) => Html
}

/** What other routes of the page need of a visitor's workspace. */
interface WorkspaceParts {
  /** The cards of the visitor's list, for a page that shows it; renews the cookie. */
  wall(request: FastifyRequest, reply: FastifyReply): Promise<Html | undefined>
  /** What is left of an expired job in the visitor's list. */
  line(id: string, request: FastifyRequest): Promise<Html | undefined>
  /** Puts a job that was just accepted into the visitor's list. */
  add(view: JobView, request: FastifyRequest, reply: FastifyReply): Promise<void>
}

/**
 * GET /workspace/jobs: the cards of the visitor's list, newest first. POST /workspace/clear empties it, /restore undoes that,
 * /remove takes out one job (it is not deleted).
 */
export function workspaceRoutes(
  app: FastifyInstance,
  { services, hosts, card }: WorkspaceOptions,
): WorkspaceParts {
  const { workspaces } = services

  const cards = async (request: FastifyRequest, after = 0): Promise<Html | undefined> => {
    const workspace = findWorkspace(workspaces, request)
    if (workspace === undefined) return undefined
    const [jobs, cleared] = await Promise.all([workspace.jobs(), workspace.cleared()])
    if (jobs === undefined) return wallUnavailable()
    const shown = jobs.slice(after, after + cardsAtOnce)
    const next = after + cardsAtOnce < jobs.length ? after + cardsAtOnce : undefined
    return wallCards({ seen: await workspace.seen(shown), next, cleared }, card)
  }
  const send = async (request: FastifyRequest, reply: FastifyReply) => {
    if (!isFragment(request)) return reply.redirect('/', 303)
    return sendFragment(
      reply,
      (await cards(request)) ?? wallCards({ seen: [], next: undefined, cleared: false }, card),
    )
  }

  app.get<{ Querystring: { after?: string } }>('/workspace/jobs', async (request, reply) => {
    const after = Number(request.query.after ?? 0)
    const from = Number.isSafeInteger(after) && after >= 0 ? after : 0
    const shown = await cards(request, from)
    return sendFragment(reply, shown ?? wallCards({ seen: [], next: undefined, cleared: false }, card))
  })

  app.get('/workspace/busy', async (_request, reply) => sendFragment(reply, busyNote(await services.busy())))

  for (const action of ['clear', 'restore'] as const) {
    app.post(`/workspace/${action}`, async (request, reply) => {
      refuseCrossSite(request, hosts)
      await findWorkspace(workspaces, request)?.[action]()
      return send(request, reply)
    })
  }

  app.post('/workspace/remove', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { job } = (request.body ?? {}) as { job?: unknown }
    if (typeof job === 'string') await findWorkspace(workspaces, request)?.remove([job])
    return send(request, reply)
  })

  return {
    async wall(request, reply) {
      renewCookie(workspaces, findWorkspace(workspaces, request), request, reply)
      return cards(request)
    },
    async line(id, request) {
      const jobs = await findWorkspace(workspaces, request)?.jobs()
      const job = jobs?.find((each) => each.id === id)
      return job === undefined ? undefined : goneLine(job, 'expired')
    },
    async add(view, request, reply) {
      await openWorkspace(workspaces, request, reply).add(view)
    },
  }
}
