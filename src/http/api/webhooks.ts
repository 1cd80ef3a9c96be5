import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { WebhookLog } from '../../jobs/webhook.ts'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

type ById = { Params: { id: string } }
const byId = Type.Object({ id: Type.String() })
const faults = { '4xx': ErrorBody, '5xx': ErrorBody }

/** GET /v1/jobs/:id/webhooks, POST /v1/jobs/:id/webhooks/resend, GET /v1/webhooks/secret. */
export function webhookRoutes(app: FastifyInstance, services: Services): void {
  app.get<ById>(
    '/v1/jobs/:id/webhooks',
    {
      schema: {
        summary: 'What became of the webhook of a job',
        description:
          'The tries so far, for as long as the job is kept. 404 while there is none: the job is not final, or has no webhook.',
        params: byId,
        response: { 200: WebhookLog, ...faults },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store')
      return services.webhookLog(request.params.id, request.caller)
    },
  )

  app.post<ById>(
    '/v1/jobs/:id/webhooks/resend',
    {
      schema: {
        summary: 'Send the webhook of a job again',
        description: 'With the same `webhook-id`, so that a receiver that has it already can tell.',
        params: byId,
        response: { 202: WebhookLog, ...faults },
      },
    },
    async (request, reply) => {
      const log = await services.resendWebhook(request.params.id, request.caller)
      return reply.code(202).header('cache-control', 'no-store').send(log)
    },
  )

  app.get(
    '/v1/webhooks/secret',
    {
      schema: {
        summary: 'The secret that webhooks are signed with',
        description: 'Of this caller. `whsec_` and base64, as the libraries of Standard Webhooks take it.',
        response: {
          200: Type.Object({ key: Type.String({ description: 'Keep it secret.' }) }),
          ...faults,
        },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store')
      return { key: await services.webhookSecret(request.caller) }
    },
  )
}
