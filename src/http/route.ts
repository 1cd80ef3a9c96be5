import type { FastifyRequest } from 'fastify'

type Route = FastifyRequest['routeOptions']

declare module 'fastify' {
  interface FastifyRequest {
    /** See `routeOf`. */
    route?: Route
  }
}

/** The options of a request's route. Fastify makes them anew whenever they are read; a poll reads them several times. */
export function routeOf(request: FastifyRequest): Route {
  request.route ??= request.routeOptions
  return request.route
}
