import { randomInt } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { imageFiles } from '../../jobs/fields.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment, sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { goneCard } from './card.ts'
import { type Html, html } from './html.ts'
import { refuseCrossSite } from './security.ts'

/** How much of a picture may change when it is varied a little. */
const varyStrength = 0.35

interface ResultOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
  /** The new card of a job that was accepted, or its page. */
  readonly accept: (view: JobView, request: FastifyRequest, reply: FastifyReply) => Promise<Html>
  /** The form filled in with these fields. */
  readonly filled: (fields: Readonly<Record<string, string>>) => Promise<Html>
}

type JobAddress = { Params: { id: string }; Body: Readonly<Record<string, unknown>> | undefined }

/**
 * What is done with a finished picture: POST /jobs/:id/vary makes another that differs a little, /photo begins with it, /delete
 * deletes the job. A picture that is used becomes an upload, so that it outlives the job it came from.
 */
export function resultRoutes(
  app: FastifyInstance,
  { services, assets, hosts, accept, filled }: ResultOptions,
): void {
  /** The picture as an upload of its visitor. */
  const asUpload = async (request: FastifyRequest<JobAddress>) => {
    const picture = await services.image(request.params.id, indexIn(request.body), request.caller)
    const { body } = await picture.open()
    const bytes = body instanceof Uint8Array ? body : await buffer(body)
    const { type } = imageFiles[picture.job.request?.format ?? 'png']
    const upload = await services.upload(bytes, { type, caller: request.caller })
    return { upload, job: picture.job }
  }

  app.post<JobAddress>('/jobs/:id/vary', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { upload, job } = await asUpload(request)
    const { mask: _mask, ...settings } = job.request ?? { prompt: '' }
    const body = {
      ...settings,
      init_image: upload.id,
      strength: varyStrength,
      count: 1,
      seed: randomInt(services.limits.maxSeed),
    }
    const view = await services.submit(body, { caller: request.caller, base: request.publicAddress() })
    const card = await accept(view, request, reply)
    if (!isFragment(request)) return reply.redirect(`/jobs/${view.id}`, 303)
    return sendFragment(reply, card)
  })

  app.post<JobAddress>('/jobs/:id/photo', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { upload, job } = await asUpload(request)
    const paint = request.body?.paint === '1'
    const fields = {
      prompt: job.request?.prompt ?? '',
      model: job.request?.model ?? '',
      init_image: upload.id,
      ...(paint ? { paint: '1' } : {}),
    }
    if (!isFragment(request)) return reply.redirect(`/?${new URLSearchParams(fields)}`, 303)
    return sendFragment(reply, await filled(fields))
  })

  app.post<JobAddress>('/jobs/:id/delete', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { id } = request.params
    if (!isFragment(request) && request.body?.sure !== '1') {
      return sendPage(reply, assets, { title: 'Packshot: delete?', body: question(id) })
    }
    await services.remove(id, request.caller)
    if (!isFragment(request)) return reply.redirect('/', 303)
    return sendFragment(reply, goneCard('Deleted', 'The pictures and their words were deleted.'))
  })
}

function indexIn(body: Readonly<Record<string, unknown>> | undefined): number {
  const index = Number(body?.index ?? 0)
  return Number.isSafeInteger(index) && index >= 0 ? index : 0
}

function question(id: string): Html {
  return html`<div class="single">
<h1>Delete these pictures?</h1>
<p>They are deleted at once, with their words, and cannot be brought back.</p>
<form method="post" action="/jobs/${id}/delete"><input type="hidden" name="sure" value="1"><button class="btn filled" type="submit">Delete for good</button> <a class="btn text" href="/jobs/${id}">Keep them</a></form>
</div>`
}
