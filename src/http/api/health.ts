import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

/**
 * Live: the event loop answers. Ready: the server accepts traffic (started, not draining); the answer includes what the
 * worker beside it, if there is one, holds in memory. Neither asks a queue or a store: a restart of one of those must
 * not become a restart of every server. Load is for autoscaling, and asks both.
 */
export function healthRoutes(app: FastifyInstance, services: Services): void {
  const config = { open: true }
  app.get(
    '/healthz/live',
    { config, schema: { summary: 'The process answers' } },
    async (_request, reply) => {
      return reply.header('cache-control', 'no-store').send({ status: 'live' })
    },
  )
  app.get(
    '/healthz/ready',
    { config, schema: { summary: 'The server accepts traffic' } },
    async (_request, reply) => {
      const ready = services.ready()
      reply.code(ready ? 200 : 503).header('cache-control', 'no-store')
      const held = ready ? services.holdings?.() : undefined
      return { status: ready ? 'ready' : 'not ready', ...held }
    },
  )
  app.get('/healthz/load', { config, schema: load }, async (_request, reply) => {
    const { waiting, workers, secondsPerUnit } = await services.load()
    reply.header('cache-control', 'no-store')
    return { waiting, workers, ...(secondsPerUnit === undefined ? {} : { seconds_per_unit: secondsPerUnit }) }
  })
}

const load = {
  summary: 'How much work waits, for autoscaling',
  response: {
    200: Type.Object({
      waiting: Type.Integer({ description: 'Jobs in the queue; running ones may be included.' }),
      workers: Type.Integer({ description: 'Workers with a recent heartbeat.' }),
      seconds_per_unit: Type.Optional(
        Type.Number({
          description: 'Seconds for one step of one picture of one megapixel, measured recently.',
        }),
      ),
    }),
    '5xx': ErrorBody,
  },
}
