import { randomInt } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { imageFiles } from '../../jobs/fields.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment, sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { goneCard } from './card.ts'
import { refinishBody } from './finish-again.ts'
import { deliveredAs } from './form-values.ts'
import { type Html, html } from './html.ts'
import { refuseCrossSite } from './security.ts'
import type { Size } from './sizes.ts'

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
 * What is done with a finished picture: POST /jobs/:id/vary makes another that differs a little, /photo begins with it,
 * /finish finishes it in another way, /delete deletes the job. A picture that is used becomes an upload, so that it outlives the job it came from.
 */
export function resultRoutes(
  app: FastifyInstance,
  { services, assets, hosts, accept, filled }: ResultOptions,
): void {
  /** The picture as it was drawn, as an upload of its visitor: a finished one has another frame and ground. */
  const asUpload = async (request: FastifyRequest<JobAddress>) => {
    const { id } = request.params
    const index = indexIn(request.body)
    const delivered = await services.image(id, index, request.caller)
    const drawn = delivered.image.original !== undefined
    const picture = drawn ? await services.original(id, index, request.caller) : delivered
    const { body } = await picture.open()
    const bytes = body instanceof Uint8Array ? body : await buffer(body)
    const { type } = imageFiles[drawn ? 'png' : (picture.job.request?.format ?? 'png')]
    const upload = await services.upload(bytes, { type, caller: request.caller })
    return { upload, job: picture.job }
  }

  const canDraw = ({ model: name }: ResolvedRequest, { width, height }: Size) => {
    const multiple = services.offer().models.find((each) => each.name === name)?.size_multiple ?? 1
    return [width, height].every((side) => side % multiple === 0 && side <= services.limits.maxSize)
  }

  app.post<JobAddress>('/jobs/:id/vary', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const { upload, job } = await asUpload(request)
    const body = {
      ...(job.request && begun(job.request, canDraw(job.request, upload) ? upload : job.request)),
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
    const { request: made } = job
    const model = services.offer().models.find(({ name }) => name === made?.model)
    const fields = {
      ...(made && deliveredAs(made, model)),
      model: made?.model ?? '',
      init_image: upload.id,
      ...(paint ? { paint: '1' } : {}),
    }
    if (!isFragment(request)) return reply.redirect(`/?${new URLSearchParams(fields)}`, 303)
    return sendFragment(reply, await filled(fields))
  })

  app.post<JobAddress>('/jobs/:id/finish', async (request, reply) => {
    refuseCrossSite(request, hosts)
    const view = await services.refinish(
      request.params.id,
      refinishBody(request.body, indexIn(request.body)),
      { caller: request.caller, base: request.publicAddress() },
    )
    const card = await accept(view, request, reply)
    if (!isFragment(request)) return reply.redirect(`/jobs/${view.id}`, 303)
    return sendFragment(reply, card)
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

/**
 * The settings of a request whose picture another begins with. What was drawn twice is drawn at its larger size at once; a
 * pace counts its own steps for a picture that begins with another; of what was only finished the picture gives the size.
 * @param drawn the size of the picture, if it can be drawn at it
 */
function begun({ mask: _mask, hires, ...settings }: ResolvedRequest, drawn: Size): Partial<ResolvedRequest> {
  const { steps, timesteps, ...others } = settings
  const paced = settings.pace === 'quick' || settings.pace === 'instant'
  const { width, height } = hires ?? (settings.strength === 0 ? drawn : settings)
  return { ...(paced ? others : settings), width, height }
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
