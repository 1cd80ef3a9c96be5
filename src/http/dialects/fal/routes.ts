import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import { describeValue } from '../../../jobs/wording.ts'
import { beDialect, bodyLimitFor, type DialectOptions } from '../dialect.ts'
import { readJsonOrNothing } from '../json-bodies.ts'
import { sendFalFault } from './faults.ts'
import { type Call, nothingAt, queueCall, runCall } from './queue.ts'
import { restCall, storageRoutes } from './storage.ts'

/**
 * fal's queue, for its official clients. They reach a server of one's own by a middleware that rewrites addresses, or
 * through one address that is told the true one in a header: that is only read, nothing is ever fetched.
 */

type Handler = (options: DialectOptions, call: Call) => unknown

const handlers: readonly (readonly [name: string, methods: string[], handle: Handler])[] = [
  ['queue', ['GET', 'POST', 'PUT'], queueCall],
  ['run', ['POST'], runCall],
  ['rest', ['POST'], restCall],
]

/** fal's hosts, and ours for them. */
const hosts: Readonly<Record<string, Handler>> = {
  'queue.fal.run': queueCall,
  'fal.run': runCall,
  'rest.fal.ai': restCall,
  'rest.alpha.fal.ai': restCall,
}

export async function falRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const most = bodyLimitFor(options.services)
  beDialect(app)
  readJsonOrNothing(app, most)
  app.setErrorHandler((thrown, request, reply) => sendFalFault(thrown, { request, reply, most }))

  for (const [name, method, handle] of handlers) {
    app.route<{ Params: { '*': string } }>({
      method,
      url: `/fal/${name}/*`,
      bodyLimit: most,
      handler: async (request, reply) => {
        const query = new URL(request.url, 'http://here').searchParams
        return handle(options, { request, reply, path: request.params['*'], query })
      },
    })
  }
  app.route({
    method: ['GET', 'POST', 'PUT'],
    url: '/fal/proxy',
    bodyLimit: most,
    handler: async (request, reply) => {
      const { handle, call } = proxied(request, reply)
      return handle(options, call)
    },
  })
  await app.register(async (storage) => storageRoutes(storage, options))
}

const header = 'x-fal-target-url'

/** What the header says is meant. Throws `invalid_request` for every host that is not fal's. */
function proxied(request: FastifyRequest, reply: FastifyReply): { handle: Handler; call: Call } {
  const given = request.headers[header]
  const url = typeof given === 'string' ? URL.parse(given) : null
  const handle = url !== null && Object.hasOwn(hosts, url.host) ? hosts[url.host] : undefined
  if (url === null || handle === undefined) {
    const names = Object.keys(hosts).join(', ')
    const message = `The header ${header} must be an address of ${names}, but was ${describeValue(given)}.`
    throw new AppError('invalid_request', message, { param: header })
  }
  return { handle, call: { request, reply, path: decoded(url.pathname.slice(1)), query: url.searchParams } }
}

/** As in the path of a request. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw nothingAt(path)
  }
}
