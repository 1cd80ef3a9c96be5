import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import { bestEffort } from '../../jobs/log.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { KeptPictures } from '../../jobs/serving/kept.ts'
import { formatOf } from '../../jobs/serving/picture.ts'
import type { SeenJob, Workspace, WorkspaceJob } from '../../jobs/serving/workspace.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment, sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { deleteQuestion, type Filter, galleryPage, pageAddress, pictureTile, type Tile } from './gallery.ts'
import { refuseCrossSite } from './security.ts'
import { findWorkspace, renewCookie } from './workspace-cookie.ts'
import { isGone, sendZip } from './zip-answer.ts'

interface GalleryOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
}

/** Pictures of a page, and jobs that are looked up for it at most: those that failed have none. */
const [picturesAtOnce, jobsAtOnce, lookedUpTogether] = [48, 96, 16]
/** What can be chosen at once: a page, and what was added to its jobs meanwhile. */
const mostChosen = 60

/**
 * /pictures: all pictures of a workspace, newest first; what is chosen there as a ZIP, or deleted; favourites. All of it
 * works without JavaScript.
 */
export function galleryRoutes(app: FastifyInstance, { services, assets, hosts }: GalleryOptions): void {
  const { workspaces } = services
  const config = { room: 'pictures' } as const

  app.get('/pictures', { config }, async (request, reply) => {
    const workspace = findWorkspace(workspaces, request)
    renewCookie(workspaces, workspace, request, reply)
    const { filter, after, note } = asked(request.query)
    const jobs = workspace === undefined ? [] : await workspace.jobs()
    const wanted = (jobs ?? []).filter((job) => fits(job, filter))
    const { tiles, next } = await tilesFrom(workspace, wanted, after, filter)
    const models = [...new Set((jobs ?? []).flatMap(({ request: made }) => made?.model ?? []))].sort()
    const kept = await keptBy(services.kept, request)
    const body = galleryPage({
      tiles,
      filter,
      models,
      after,
      next,
      away: jobs === undefined,
      ...kept,
      ...note,
    })
    return sendPage(reply, assets, { title: 'Packshot: pictures', body })
  })

  app.post('/pictures/like', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const [key] = keysIn(request.body, 'like')
    const workspace = findWorkspace(workspaces, request)
    const job = key === undefined ? undefined : (await workspace?.jobs())?.find(({ id }) => id === key.id)
    if (workspace === undefined || job === undefined || key === undefined) throw gone()
    const liked = job.liked ?? []
    const now = liked.includes(key.index) ? liked.filter((each) => each !== key.index) : [...liked, key.index]
    const changed = { ...job, liked: now.slice(-16) }
    if (!(await workspace.change(changed)))
      throw new AppError('unavailable', 'Favourites cannot be kept at the moment.')
    if (!isFragment(request)) return reply.redirect(backIn(request.body), 303)
    const [seen] = await workspace.seen([changed])
    const image = seen?.view?.images[key.index]
    if (seen?.view === undefined || image === undefined) throw gone()
    const { kept } = await keptBy(services.kept, request)
    return sendFragment(
      reply,
      pictureTile({ job: changed, view: seen.view, image, index: key.index }, kept?.ids),
    )
  })

  app.post('/pictures/forget', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { forget } = (request.body ?? {}) as { forget?: unknown }
    if (typeof forget === 'string') await findWorkspace(workspaces, request)?.remove([forget])
    return reply.redirect(backIn(request.body), 303)
  })

  app.post('/pictures/zip', async (request, reply) => {
    refuseCrossSite(request, hosts)
    return sendZip(reply, chosen(request), async ({ id, index }) => {
      const file = await services.image(id, index, request.caller)
      const { prompt = '' } = file.job.request ?? {}
      return { prompt, seed: file.image.seed, format: formatOf(file), open: file.open }
    })
  })

  app.post('/pictures/delete', { config }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    const keys = chosen(request)
    const workspace = findWorkspace(workspaces, request)
    const ids = new Set(keys.map(({ id }) => id))
    const jobs = (await workspace?.jobs())?.filter(({ id }) => ids.has(id)) ?? []
    const mine = keys.filter(({ id }) => jobs.some((job) => job.id === id))
    if (workspace === undefined || mine.length === 0) throw gone()
    const back = backIn(request.body)
    if ((request.body as { sure?: unknown }).sure !== '1') {
      const names = mine.map(({ id, index }) => ({ id, index })).map(({ id, index }) => `${id}.${index}`)
      const titles = [...new Set(mine.map(({ id }) => jobs.find((job) => job.id === id)?.title ?? ''))]
      const body = deleteQuestion(titles, names, back)
      return sendPage(reply, assets, { title: 'Packshot: delete', body })
    }
    let failed = 0
    for (const each of await workspace.seen(jobs)) {
      const indexes = mine.filter(({ id }) => id === each.job.id).map(({ index }) => index)
      if (!(await removed(workspace, request, each, indexes))) failed += indexes.length
    }
    const query = new URLSearchParams({
      deleted: String(mine.length - failed),
      ...(failed > 0 ? { failed: String(failed) } : {}),
    })
    return reply.redirect(`${back}${back.includes('?') ? '&' : '?'}${query}`, 303)
  })

  /** The job with its files when none of its pictures is left; until then they leave the list alone. */
  async function removed(
    workspace: Workspace,
    request: FastifyRequest,
    { job, view }: SeenJob,
    indexes: readonly number[],
  ) {
    const hidden = [...new Set([...(job.hidden ?? []), ...indexes])]
    if (view?.images.some((_, index) => !hidden.includes(index)) === true) {
      return workspace.change({ ...job, hidden })
    }
    try {
      await services.remove(job.id, request.caller)
    } catch (thrown) {
      if (!isGone(thrown)) return false
    }
    return workspace.remove([job.id])
  }
}

function gone(): AppError {
  return new AppError('not_found', 'This picture is not in your list any more.')
}

function asked(query: unknown) {
  const { words, model, liked, after, deleted, failed, kept, refused, full } = (query ?? {}) as Readonly<
    Record<string, unknown>
  >
  const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 200) : '')
  const filter: Filter = { words: text(words), model: text(model), liked: liked === '1' }
  const from = Number(text(after))
  const count = (value: unknown) => (/^\d{1,3}$/.test(text(value)) ? Number(text(value)) : 0)
  const done = count(deleted) > 0 ? `${pictures(count(deleted))} deleted.` : ''
  const left = count(failed) > 0 ? ` ${pictures(count(failed))} could not be deleted.` : ''
  const stays = count(kept) > 0 ? `${pictures(count(kept))} kept for good.` : ''
  const why = full === '1' ? ', as you keep as many as you may: delete some of them first' : ''
  const not = count(refused) > 0 ? ` ${pictures(count(refused))} could not be kept${why}.` : ''
  const said = `${done}${left}${stays}${not}`.trim()
  const note = said === '' ? {} : { note: said }
  return { filter, after: Number.isSafeInteger(from) && from > 0 ? from : 0, note }
}

export function pictures(count: number): string {
  return count === 1 ? 'One picture' : `${count} pictures`
}

function fits(job: WorkspaceJob, { words, model, liked }: Filter): boolean {
  const prompt = (job.request?.prompt ?? job.title).toLowerCase()
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean)
  if (!wanted.every((word) => prompt.includes(word))) return false
  if (model !== '' && job.request?.model !== model) return false
  return !liked || (job.liked ?? []).length > 0
}

/** The pictures of a page. It ends with a whole job, so a few more may be on it. */
async function tilesFrom(
  workspace: Workspace | undefined,
  jobs: readonly WorkspaceJob[],
  after: number,
  { liked }: Filter,
): Promise<{ tiles: Tile[]; next: number | undefined }> {
  const tiles: Tile[] = []
  let at = after
  while (workspace !== undefined && at < jobs.length && at - after < jobsAtOnce) {
    const some = jobs.slice(at, at + lookedUpTogether)
    const seen = new Map((await workspace.seen(some)).map((each) => [each.job.id, each]))
    for (const job of some) {
      if (tiles.length >= picturesAtOnce) return { tiles, next: at }
      tiles.push(...tilesOf(seen.get(job.id), liked))
      at += 1
    }
  }
  return { tiles, next: at < jobs.length ? at : undefined }
}

function tilesOf(seen: SeenJob | undefined, liked: boolean): Tile[] {
  if (seen === undefined) return []
  const { job, view, missing } = seen
  if (view === undefined) return missing === undefined ? [] : [{ job, missing }]
  return (view as JobView).images.flatMap((image, index) => {
    if (job.hidden?.includes(index) || (liked && !job.liked?.includes(index))) return []
    return [{ job, view, image, index }]
  })
}

interface Key {
  readonly id: string
  readonly index: number
}

/** What the caller keeps for good; absent if it may not, or the storage does not answer. */
async function keptBy(
  kept: KeptPictures,
  { caller, log }: FastifyRequest,
): Promise<{ kept?: { ids: ReadonlySet<string>; limit: number } }> {
  if (!kept.may(caller)) return {}
  const ids = await bestEffort(log, 'reading what is kept for good', kept.ids(caller))
  return ids === undefined ? {} : { kept: { ids, limit: kept.limit } }
}

/** The pictures that a form names. Throws `invalid_request` for none, or too many. */
export function chosen({ body }: FastifyRequest): Key[] {
  const keys = keysIn(body, 'picture')
  if (keys.length === 0) {
    throw new AppError('invalid_request', 'Choose pictures first: each has a box.', { param: 'picture' })
  }
  if (keys.length > mostChosen) {
    const message = `At most ${mostChosen} pictures can be chosen at once, but these were ${keys.length}.`
    throw new AppError('invalid_request', message, { param: 'picture' })
  }
  return keys
}

/** Of a button its value; boxes have names of their own, since a form may not have a field twice. */
function keysIn(body: unknown, field: 'like' | 'picture'): Key[] {
  const given = (body ?? {}) as Readonly<Record<string, unknown>>
  const boxes = Object.keys(given).filter((name) => name.startsWith('picture:'))
  const texts = field === 'like' ? [given.like] : boxes.map((name) => name.slice('picture:'.length))
  return texts.flatMap((text) => {
    const [, id, index] = /^([0-9A-Za-z_-]{1,100})\.(\d{1,3})$/.exec(String(text)) ?? []
    return id === undefined ? [] : [{ id, index: Number(index) }]
  })
}

/** The page that a form was on. */
export function backIn(body: unknown): string {
  const { back } = (body ?? {}) as { back?: unknown }
  const url = typeof back === 'string' && /^\/pictures(\?[\w=&%+.~*-]*)?$/.test(back) ? back : '/pictures'
  const { filter, after } = asked(Object.fromEntries(new URLSearchParams(url.slice('/pictures'.length))))
  return pageAddress(filter, after)
}
