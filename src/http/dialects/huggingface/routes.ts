import type { FastifyInstance } from 'fastify'
import { AppError, clientMessage } from '../../../jobs/errors.ts'
import { type ImageFormat, imageFiles, imageFormats } from '../../../jobs/fields.ts'
import { httpStatus } from '../../status.ts'
import { beDialect, bodyLimitFor, type DialectOptions } from '../dialect.ts'
import { type FieldNames, faultOf, setFaultHeaders } from '../faults.ts'
import { held, requireSuccess } from '../held.ts'
import { countOf, fieldsOf, given, readJsonOrNothing, withoutAbsent } from '../json-bodies.ts'
import { bytesOf } from '../pictures.ts'
import { submitAll } from '../submit.ts'

/**
 * Text-to-image as Hugging Face's inference API has it: POST /hf/models/NAME, answered with the bytes of one picture.
 * The client sends no model with an `endpointUrl`, so its name is in the path.
 */

/** Ours, and theirs. */
const names: FieldNames = {
  prompt: 'inputs',
  steps: 'parameters.num_inference_steps',
  sampler: 'parameters.scheduler',
  guidance_scale: 'parameters.guidance_scale',
  negative_prompt: 'parameters.negative_prompt',
  width: 'parameters.width',
  height: 'parameters.height',
  seed: 'parameters.seed',
}

export async function huggingFaceRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { services, holdSeconds } = options
  const most = bodyLimitFor(services)
  beDialect(app)
  readJsonOrNothing(app, most)
  app.setErrorHandler((thrown, request, reply) => {
    const error = faultOf(thrown, request, { names, most })
    // the client repeats a 503 at once and for ever, whatever Retry-After says
    const status = httpStatus(error) === 503 ? 429 : isUnknownModel(error) ? 404 : httpStatus(error)
    setFaultHeaders(reply, error, status)
    return reply.send({ error: clientMessage(error) })
  })

  app.post<{ Params: { '*': string } }>('/hf/models/*', { bodyLimit: most }, async (request, reply) => {
    const body = requestOf(fieldsOf(request.body), request.params['*'], formatFor(request.headers.accept))
    const views = await submitAll(services, request, { body, total: 1 })
    const [view] = await held(services, request, reply, { views, seconds: holdSeconds })
    if (view === undefined) throw new AppError('internal', 'No job was made.')
    const { request: made } = requireSuccess(reply, view)
    const picture = await bytesOf(services, view, 0, request.caller)
    return reply.type(imageFiles[made?.format ?? 'png'].type).send(picture)
  })
}

function requestOf(fields: Readonly<Record<string, unknown>>, model: string, format: ImageFormat) {
  const parameters = fieldsOf(fields.parameters)
  if (parameters.num_images_per_prompt !== undefined)
    countOf(parameters.num_images_per_prompt, 'num_images_per_prompt', 1)
  return withoutAbsent({
    prompt: given(fields, 'inputs'),
    model,
    format,
    negative_prompt: given(parameters, 'negative_prompt'),
    width: given(parameters, 'width'),
    height: given(parameters, 'height'),
    steps: given(parameters, 'num_inference_steps'),
    guidance_scale: given(parameters, 'guidance_scale'),
    sampler: given(parameters, 'scheduler'),
    seed: given(parameters, 'seed'),
  })
}

/** PNG unless the client asks for one other format. */
function formatFor(accept = ''): ImageFormat {
  const asked = accept.split(',').map((each) => each.split(';', 1)[0]?.trim())
  return imageFormats.find((format) => asked.length === 1 && asked[0] === imageFiles[format].type) ?? 'png'
}

function isUnknownModel({ code, param }: AppError): boolean {
  return code === 'invalid_request' && param === 'model'
}
