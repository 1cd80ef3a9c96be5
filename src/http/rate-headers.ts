import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
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
  const onSend = async (request: FastifyRequest, reply: FastifyReply) => {
    // unknown: refused before it was recognised
    if (request.caller === null || request.caller === undefined) return
    const policies = await services.policies(request.caller)
    if (policies.length === 0) return
    const promised = policies.map(({ name, unit, quota, window }) => {
      const units = unit === undefined ? '' : `;qu="${unit}"`
      return `"${name}";q=${quota};w=${window}${units}`
    })
    const left = policies.map(({ name, left, seconds }) => `"${name}";r=${left};t=${seconds}`)
    reply.headers({ 'ratelimit-policy': promised.join(', '), ratelimit: left.join(', ') })
  }
  app.addHook('onRoute', (route) => {
    if (route.config?.limited === true) route.onSend = [route.onSend ?? [], onSend].flat()
  })
}
