import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError, toAppError } from '../../../jobs/errors.ts'
import { isFinal } from '../../../jobs/serving/job-view.ts'
import type { DialectOptions } from '../dialect.ts'
import { streamFollowed } from '../followed.ts'
import { submitWithPictures } from '../given-pictures.ts'
import { endOf, held, nameJobs, requireSuccess } from '../held.ts'
import { modelCalled } from '../named-model.ts'
import { addressesOf, outputOf, type Place, statusOf } from './answers.ts'
import { requestOf } from './input.ts'

/** A call as it was meant for fal: of its own path, or through the proxy address. */
export interface Call {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** Below the host, without a slash at its beginning. */
  readonly path: string
  readonly query: URLSearchParams
}

/** Owners that are followed by one more part. */
const namespaces = ['workflows', 'comfy']

interface Target {
  /** As the client named it: `owner/alias`. */
  readonly app: string
  readonly alias: string
  readonly rest: readonly string[]
}

/** Throws `not_found` for a path without an alias. */
function targetOf(path: string): Target {
  const parts = path.split('/').filter((part) => part !== '')
  const length = namespaces.includes(parts[0] ?? '') ? 3 : 2
  const alias = parts[length - 1]
  const app = parts.slice(0, length).join('/')
  if (alias === undefined || !/^[\w./ -]{1,200}$/.test(app)) throw nothingAt(path)
  return { app, alias, rest: parts.slice(length) }
}

/** Submit, status, its stream, result and cancel. What follows `owner/alias` in a submitted path has no effect. */
export function queueCall({ services }: DialectOptions, call: Call): Promise<unknown> {
  const { request, reply, path, query } = call
  const { app, alias, rest } = targetOf(path)
  const [requests, id = '', ...action] = rest
  const place = { base: request.publicAddress(), app }
  if (requests !== 'requests') {
    return allowing(call, 'POST', async () => {
      const view = await submit(services, call, alias)
      return { status: 'IN_QUEUE', queue_position: view.position ?? 0, ...addressesOf(view.id, place) }
    })
  }
  if (/^\w{1,100}$/.test(id)) reply.header('x-fal-request-id', id)
  const shown = { ...place, logs: query.get('logs') === '1' || query.get('logs') === 'true' }
  switch (action.join('/')) {
    case '':
      return allowing(call, 'GET', () => result(services, call, { ...place, id }))
    case 'status':
      return allowing(call, 'GET', async () => {
        const view = await services.view(id, request.caller)
        // as there: accepted, but not done
        reply.code(isFinal(view) ? 200 : 202)
        return statusOf(view, shown)
      })
    case 'status/stream':
      return allowing(call, 'GET', () =>
        streamFollowed(reply, {
          follow: (signal) => services.follow(id, request.caller, { signal }),
          eventsOf: (view) => [{ data: statusOf(view, shown) }],
          // its client takes the last event for the end, and asks for the result then: that says what is the matter
          broken: () => [],
        }),
      )
    case 'cancel':
      return allowing(call, 'PUT', () => cancel(services, call, id))
    default:
      throw nothingAt(path)
  }
}

/** Waits for the pictures, and answers with the output. */
export function runCall({ services, holdSeconds }: DialectOptions, call: Call): Promise<unknown> {
  const { request, reply, path } = call
  const { alias } = targetOf(path)
  return allowing(call, 'POST', async () => {
    const submitted = await submit(services, call, alias)
    const limit = Number(request.headers['x-fal-request-timeout'])
    const seconds = limit > 0 ? Math.min(limit, holdSeconds) : holdSeconds
    try {
      const [view = submitted] = await held(services, request, reply, { views: [submitted], seconds })
      return outputOf(requireSuccess(reply, view), request.publicAddress())
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code !== 'unavailable') throw error
      // the client would repeat a 503, and so pay twice
      throw new AppError('still_running', error.message, { cause: error })
    }
  })
}

type Services = DialectOptions['services']

async function submit(services: Services, { request, reply, query }: Call, alias: string) {
  const { name: model } = modelCalled(alias, services.offer())
  const priority = request.headers['x-fal-queue-priority']
  const wanted = requestOf(request.body, {
    model,
    priority: typeof priority === 'string' ? priority : undefined,
  })
  const url = query.get('fal_webhook') ?? undefined
  const webhook = url === undefined ? {} : { webhook: { url, form: 'fal' } }
  const view = await submitWithPictures(services, request, { ...wanted, ...webhook })
  nameJobs(reply, [view])
  reply.header('x-fal-request-id', view.id)
  return view
}

async function result(
  services: Services,
  { request }: Call,
  { id, base }: Pick<Place, 'base'> & { readonly id: string },
) {
  const view = await services.view(id, request.caller)
  if (!isFinal(view)) throw new AppError('not_ready', 'The request is still in progress.', { param: 'id' })
  if (view.status !== 'succeeded') throw endOf(view)
  return outputOf(view, base)
}

/** Repeatable: a job that is canceled stays so. */
async function cancel(services: Services, { request, reply }: Call, id: string) {
  const { status } = await services.cancel(id, request.caller)
  if (status === 'succeeded' || status === 'failed') {
    return reply.code(400).send({ status: 'ALREADY_COMPLETED' })
  }
  return reply.code(202).send({ status: 'CANCELLATION_REQUESTED' })
}

function allowing<T>({ request, reply, path }: Call, method: string, action: () => Promise<T>): Promise<T> {
  if (request.method === method) return action()
  reply.header('allow', method)
  throw new AppError(
    'method_not_allowed',
    `${request.method} is not allowed for ${path}; allowed: ${method}.`,
  )
}

export function nothingAt(path: string): AppError {
  return new AppError('not_found', `There is nothing at ${path.slice(0, 100)}.`)
}
