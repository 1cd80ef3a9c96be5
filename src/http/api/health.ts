import type { FastifyInstance } from 'fastify'
import type { Services } from '../services.ts'

/**
 * Live: the event loop answers. Ready: the server wants traffic (started, not draining), and what the worker beside it,
 * if there is one, holds in memory. Neither asks a queue or a store: a restart of one of those must not become a restart of every server.
 */
export function healthRoutes(app: FastifyInstance, services: Services): void {
  app.get('/healthz/live', { schema: { summary: 'The process answers' } }, async (_request, reply) => {
    return reply.header('cache-control', 'no-store').send({ status: 'live' })
  })
  app.get(
    '/healthz/ready',
    { schema: { summary: 'The server accepts traffic' } },
    async (_request, reply) => {
      const ready = services.ready()
      reply.code(ready ? 200 : 503).header('cache-control', 'no-store')
      const held = ready ? services.holdings?.() : undefined
      return { status: ready ? 'ready' : 'not ready', ...held }
    },
  )
}
