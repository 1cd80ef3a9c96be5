import type { FastifyInstance } from 'fastify'
import { bodyLimit } from '../faults.ts'
import type { Services } from '../services.ts'
import { base64Length } from './pictures.ts'

/** What every dialect is given. */
export interface DialectOptions {
  readonly services: Services
  /** How long a call that waits for pictures is held open. */
  readonly holdSeconds: number
}

/** The body limit of a dialect whose bodies have pictures in base64: one to start from, a mask, and a prompt. */
export function bodyLimitFor({ uploadLimits }: Services): number {
  return 2 * base64Length(uploadLimits.bytes) + bodyLimit
}

/** Hooks of every dialect: its calls are not part of our API's description, and each answer has the request's id. */
export function beDialect(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    route.schema = { ...route.schema, hide: true }
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'x-request-id': request.id, 'cache-control': 'no-store' })
  })
}
