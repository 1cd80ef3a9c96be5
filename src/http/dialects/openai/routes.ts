import { randomInt } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import { findNamed } from '../../../jobs/offer.ts'
import { openAiModel } from '../../api/models.ts'
import { beDialect, bodyLimitFor, type DialectOptions } from '../dialect.ts'
import { faultOf, setFaultHeaders } from '../faults.ts'
import { readForms } from '../form-data.ts'
import { held, requireSuccess } from '../held.ts'
import { fieldsOf, readJsonOrNothing } from '../json-bodies.ts'
import { store } from '../pictures.ts'
import { submitAll } from '../submit.ts'
import { errorOf, imagesOf, type StreamName } from './answers.ts'
import { readEditForm } from './edit-form.ts'
import { keyOf } from './repeats.ts'
import { fieldsOfForm, type ImageCall, imageCallOf, openAiNames } from './request.ts'
import { stream } from './stream.ts'

/** OpenAI's images API under /v1: generations, edits, and one model. The list of models is ours, see api/models.ts. */
export async function openAiRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { services, holdSeconds } = options
  const { uploadLimits } = services
  const most = bodyLimitFor(services)
  beDialect(app)
  readJsonOrNothing(app, most)
  readForms(app, most)
  app.setErrorHandler((thrown, request, reply) => {
    const error = faultOf(thrown, request, { names: openAiNames, most })
    const status = setFaultHeaders(reply, error)
    return reply.send(errorOf(error, status))
  })

  const answer = async (request: FastifyRequest, reply: FastifyReply, call: ImageCall, name: StreamName) => {
    const { total, stream: streams, partials } = call
    const body = streams && partials > 0 ? { ...call.body, previews: partials } : call.body
    const key = await keyOf(services, request, call)
    const views = await submitAll(services, request, {
      body,
      total,
      ...seedFor(services.limits.maxCount, call, key),
      ...(key === undefined ? {} : { idempotencyKey: key }),
    })
    if (streams) return stream(services, request, reply, { views, name })
    const ended = await held(services, request, reply, { views, seconds: holdSeconds })
    const made = ended.map((view) => requireSuccess(reply, view))
    return imagesOf(services, request, made, call)
  }

  app.post('/v1/images/generations', { bodyLimit: most }, async (request, reply) => {
    return answer(request, reply, imageCallOf(fieldsOf(request.body)), 'image_generation')
  })

  app.post('/v1/images/edits', { bodyLimit: most }, async (request, reply) => {
    const { fields, image, mask } = readEditForm(request, uploadLimits)
    const call = imageCallOf(fieldsOfForm(fields))
    const init_image = await store(services, request.caller, image)
    const painted = mask === undefined ? {} : { mask: await store(services, request.caller, mask) }
    return answer(request, reply, { ...call, body: { ...call.body, init_image, ...painted } }, 'image_edit')
  })

  app.get<{ Params: { model: string } }>('/v1/models/:model', async (request) => {
    const found = findNamed(services.offer().models, request.params.model)
    if (found !== undefined) return openAiModel(found.name)
    throw new AppError('not_found', 'There is no model of this name; GET /v1/models lists them.', {
      param: 'model',
    })
  })
}

/** Several jobs need seeds that follow one another; with a key the same ones for every try. */
function seedFor(most: number, { total, body }: ImageCall, key: string | undefined): { seed?: number } {
  if (total <= most) return {}
  if (typeof body.seed === 'number') return { seed: body.seed }
  if (body.seed !== undefined) return {}
  return { seed: key === undefined ? randomInt(2 ** 32) : Number.parseInt(key.slice(-8), 16) }
}
