import type { FastifyInstance } from 'fastify'
import type { Services } from './services.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route makes jobs or uploads: its answers say how many more the caller may have. */
    limited?: boolean
  }
}

/**
 * `RateLimit-Policy` and `RateLimit` on the answers of routes that are `limited`, as in draft-ietf-httpapi-ratelimit-headers-10:
 * `"jobs";q=120;w=60` and `"jobs";r=119;t=1`. `t` is never later than `Retry-After`. `qu` of work is a unit of our own.
 */
export function sayLimits(app: FastifyInstance, services: Services): void {
  app.addHook('onSend', async (request, reply) => {
    if (request.routeOptions.config.limited !== true || request.caller === undefined) return
    const policies = await services.policies(request.caller)
    if (policies.length === 0) return
    reply.headers({
      'ratelimit-policy': policies
        .map(
          ({ name, unit, quota, window }) =>
            `"${name}";q=${quota};w=${window}${unit === undefined ? '' : `;qu="${unit}"`}`,
        )
        .join(', '),
      ratelimit: policies.map(({ name, left, seconds }) => `"${name}";r=${left};t=${seconds}`).join(', '),
    })
  })
}
