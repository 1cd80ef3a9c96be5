import { createHash, randomInt } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, clientMessage } from '../../../jobs/errors.ts'
import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'
import { infotextOf } from '../../infotext-file.ts'
import { httpStatus } from '../../status.ts'
import { beDialect, bodyLimitFor, type DialectOptions } from '../dialect.ts'
import { faultOf, setFaultHeaders } from '../faults.ts'
import { held, requireSuccess } from '../held.ts'
import { fieldsOf, given, readJsonOrNothing } from '../json-bodies.ts'
import { bytesOf, pictureFrom, store } from '../pictures.ts'
import { submitAll } from '../submit.ts'
import { infoOf, type Made, parametersOf } from './info.ts'
import { listRoutes } from './lists.ts'
import { progressOf } from './progress.ts'
import { a1111Names, type PictureCall, pictureCallOf } from './request.ts'
import { runningCalls } from './running.ts'
import { settingsOf } from './settings.ts'

/** The API of AUTOMATIC1111's web UI under /sdapi/v1, at the root: several of its clients allow no other path. */
export async function a1111Routes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { services, holdSeconds } = options
  const { uploadLimits } = services
  const most = bodyLimitFor(services)
  const running = runningCalls(services)
  beDialect(app)
  readJsonOrNothing(app, most)
  app.setErrorHandler((thrown, request, reply) => {
    const error = faultOf(thrown, request, { names: a1111Names, most })
    const status = setFaultHeaders(reply, error, error.code === 'invalid_request' ? 422 : httpStatus(error))
    if (status === 401) reply.header('www-authenticate', 'Basic realm="Packshot"')
    const detail = clientMessage(error)
    return reply.send({ error: 'HTTPException', detail, body: '', errors: detail })
  })
  listRoutes(app, services)

  type Fields = Readonly<Record<string, unknown>>
  /** The uploads of img2img, as fields of a body. */
  async function picturesOf({ caller }: FastifyRequest, fields: Fields): Promise<Record<string, string>> {
    const images = Array.isArray(fields.init_images) ? fields.init_images : []
    if (images.length === 0 || images[0] === null) {
      throw new AppError('not_found', 'Init image not found', { param: 'init_images' })
    }
    if (images.length > 1) {
      throw new AppError('invalid_request', 'init_images must have one picture.', { param: 'init_images' })
    }
    const mask = fields.mask ?? ''
    const given = [pictureFrom(images[0], 'init_images', uploadLimits)]
    if (mask !== '') given.push(pictureFrom(mask, 'mask', uploadLimits))
    const names = ['init_image', 'mask']
    const stored: Record<string, string> = {}
    for (const [index, picture] of given.entries()) {
      stored[names[index] ?? ''] = await store(services, caller, picture)
    }
    return stored
  }

  async function make(request: FastifyRequest, reply: FastifyReply, from: 'text' | 'picture') {
    const fields = fieldsOf(request.body)
    const { caller } = request
    const offer = services.offer()
    const call = pictureCallOf(fields, offer, await settingsOf(services, caller), from)
    const body = from === 'text' ? call.body : { ...call.body, ...(await picturesOf(request, fields)) }
    const { total } = call
    const views = await submitAll(services, request, {
      body,
      total,
      ...keyAndSeed(call, services.limits.maxCount),
    })
    const ids = views.map(({ id }) => id)
    await running.add(caller, ids)
    const ended = await held(services, request, reply, { views, seconds: holdSeconds })
    await running.remove(caller, ids)
    return answerOf(request, reply, { ended, call, fields })
  }

  /** A call that was interrupted is answered with the pictures that were made, as the web UI does. */
  async function answerOf(
    request: FastifyRequest,
    reply: FastifyReply,
    {
      ended,
      call,
      fields,
    }: { readonly ended: readonly JobView[]; readonly call: PictureCall; readonly fields: Fields },
  ) {
    const images: string[] = []
    const made: Made[] = []
    for (const view of ended.filter(({ status }) => status !== 'canceled')) {
      for (const [index, image] of requireSuccess(reply, view).images.entries()) {
        const bytes = await bytesOf(services, view, index, request.caller)
        made.push({ ...image, infotext: infotextOf(bytes) ?? '' })
        if (call.sendImages) images.push(bytes.toString('base64'))
      }
    }
    const { models, samplers } = services.offer()
    const model = models.find(({ name }) => name === ended[0]?.request?.model)
    const offered = model === undefined ? [] : samplers.of(model)
    return {
      images,
      parameters: parametersOf(fields),
      info: infoOf({ views: ended, made, call, samplers: offered }),
    }
  }

  app.post('/sdapi/v1/txt2img', { bodyLimit: most }, (request, reply) => make(request, reply, 'text'))
  app.post('/sdapi/v1/img2img', { bodyLimit: most }, (request, reply) => make(request, reply, 'picture'))

  app.get('/sdapi/v1/progress', async ({ caller }) => progressOf(await running.newest(caller)))

  for (const name of ['interrupt', 'skip']) {
    app.post(`/sdapi/v1/${name}`, async ({ caller }) => {
      const views = await running.newest(caller)
      await Promise.all(views.filter((view) => !isFinal(view)).map(({ id }) => services.cancel(id, caller)))
      return {}
    })
  }

  app.post('/sdapi/v1/png-info', { bodyLimit: most }, async ({ body }) => {
    const { bytes } = pictureFrom(given(fieldsOf(body), 'image'), 'image', uploadLimits)
    const info = infotextOf(bytes) ?? ''
    return { info, items: info === '' ? {} : { parameters: info }, parameters: {} }
  })
}

/**
 * `force_task_id` names a call, so that a repeat of it gets the same pictures. Several jobs need seeds that follow one
 * another; with a name the same ones for every try.
 */
function keyAndSeed(
  { task, total, body }: PictureCall,
  most: number,
): { idempotencyKey?: string; seed?: number } {
  const digest = task === undefined ? undefined : createHash('sha256').update(task).digest('hex')
  const seed = typeof body.seed === 'number' ? body.seed : undefined
  const chosen = digest === undefined ? randomInt(2 ** 32) : Number.parseInt(digest.slice(0, 8), 16)
  return {
    ...(digest === undefined ? {} : { idempotencyKey: `a1111-${digest}` }),
    ...(total > most && body.seed === undefined ? { seed: chosen } : {}),
    ...(total > most && seed !== undefined ? { seed } : {}),
  }
}
