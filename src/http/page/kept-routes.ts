import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError, toAppError } from '../../jobs/errors.ts'
import type { KeptView } from '../../jobs/serving/kept.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { backIn, chosen, pictures } from './gallery-routes.ts'
import { forgetQuestion, keptRoom } from './kept.ts'
import { refuseCrossSite } from './security.ts'
import { isGone, sendZip } from './zip-answer.ts'

interface KeptOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
}

const picturesAtOnce = 48

/**
 * POST /pictures/keep keeps what is chosen in Pictures for good; /pictures/kept has what is kept, as a ZIP too, until it is
 * deleted there. All of it works without JavaScript.
 */
export function keptPageRoutes(app: FastifyInstance, { services, assets, hosts }: KeptOptions): void {
  const { kept } = services
  const config = { room: 'pictures' } as const

  app.post('/pictures/keep', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const keys = chosen(request)
    let [done, refused, full] = [0, 0, false]
    for (const { id, index } of keys) {
      try {
        await kept.keep(id, index, request.caller)
        done += 1
      } catch (thrown) {
        // the rest would be refused for the same reason
        full = toAppError(thrown).code === 'kept_full'
        if (full) break
        if (!isGone(thrown) && done === 0) throw thrown
        refused += 1
      }
    }
    if (full) refused = keys.length - done
    const query = new URLSearchParams({
      ...(done > 0 ? { kept: String(done) } : {}),
      ...(refused > 0 ? { refused: String(refused) } : {}),
      ...(full ? { full: '1' } : {}),
    })
    const back = backIn(request.body)
    return reply.redirect(`${back}${back.includes('?') ? '&' : '?'}${query}`, 303)
  })

  app.get('/pictures/kept', { config }, async (request, reply) => {
    const { after: given, deleted } = (request.query ?? {}) as Readonly<Record<string, unknown>>
    const after = typeof given === 'string' && given !== '' ? given : undefined
    const page = { most: picturesAtOnce, ...(after === undefined ? {} : { after }) }
    const count = /^\d{1,3}$/.test(String(deleted)) ? Number(deleted) : 0
    const note = count > 0 ? `${pictures(count)} deleted.` : undefined
    const body = keptRoom({ ...(await kept.list(request.caller, page)), after, note })
    return sendPage(reply, assets, { title: 'Packshot: kept for good', body })
  })

  app.post('/pictures/kept/zip', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const ids = chosenIds(request)
    // who may not is told so, and gets no empty file
    await kept.ids(request.caller)
    return sendZip(reply, ids, async (id) => {
      const { view, open } = await kept.file(id, request.caller)
      return { prompt: view.request?.prompt ?? '', seed: view.seed, format: view.format, open }
    })
  })

  app.post('/pictures/kept/delete', { config }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    const found: KeptView[] = []
    for (const id of chosenIds(request)) {
      const view = await unlessGone(kept.view(id, request.caller))
      if (view !== undefined) found.push(view)
    }
    if ((request.body as { sure?: unknown }).sure !== '1') {
      if (found.length === 0) throw new AppError('not_found', 'These pictures are not kept any more.')
      return sendPage(reply, assets, { title: 'Packshot: delete', body: forgetQuestion(found) })
    }
    for (const { id } of found) await unlessGone(kept.remove(id, request.caller))
    return reply.redirect(`/pictures/kept?deleted=${found.length}`, 303)
  })
}

async function unlessGone<T>(action: Promise<T>): Promise<T | undefined> {
  try {
    return await action
  } catch (thrown) {
    if (isGone(thrown)) return undefined
    throw thrown
  }
}

/** The kept pictures that a form names: those of a page. Throws `invalid_request`. */
function chosenIds({ body }: FastifyRequest): string[] {
  const ids = Object.keys((body ?? {}) as object).flatMap(
    (name) => /^kept:([\w-]{1,100})$/.exec(name)?.[1] ?? [],
  )
  if (ids.length > 0 && ids.length <= picturesAtOnce) return ids
  const message =
    ids.length === 0
      ? 'Choose pictures first: each has a box.'
      : `At most ${picturesAtOnce} pictures can be chosen at once, but these were ${ids.length}.`
  throw new AppError('invalid_request', message, { param: 'kept' })
}
