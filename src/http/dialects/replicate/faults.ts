import type { FastifyReply, FastifyRequest } from 'fastify'
import { clientMessage } from '../../../jobs/errors.ts'
import { httpStatus, retryAfterSeconds } from '../../status.ts'
import { faultOf, setFaultHeaders } from '../faults.ts'
import { inputNames } from './input.ts'

/** Sends an error as `{title, detail, status}`, a request that cannot be used as 422 with `invalid_fields`. */
export function sendReplicateFault(
  thrown: unknown,
  { request, reply, most }: { request: FastifyRequest; reply: FastifyReply; most: number },
): FastifyReply {
  const error = faultOf(thrown, request, { names: inputNames, most })
  const invalid = error.code === 'invalid_request'
  const status = setFaultHeaders(reply, error, invalid ? 422 : httpStatus(error))
  const seconds = status === 503 ? retryAfterSeconds(error) : undefined
  const message = clientMessage(error)
  const detail = seconds === undefined ? message : `${message} Try again in ${seconds} seconds.`
  const faults = error.faults.length > 0 ? error.faults : [{ param: error.param ?? 'body', message }]
  return reply.send({
    title: titleOf(status),
    detail,
    status,
    ...(invalid && { invalid_fields: faults.map(fieldOf) }),
  })
}

/** Fields of the body itself; all others are of its `input`. */
const outer = ['body', 'input', 'version', 'webhook', 'content', 'priority', 'Idempotency-Key']

function fieldOf({ param, message }: { readonly param: string; readonly message: string }) {
  return {
    type: message.includes('is missing') ? 'required' : 'invalid',
    field: outer.includes(param) ? param : `input.${param}`,
    description: message,
  }
}

const titles: Readonly<Record<number, string>> = {
  401: 'Unauthenticated',
  403: 'Forbidden',
  404: 'Not found',
  410: 'Gone',
  413: 'Request too large',
  415: 'Unsupported media type',
  422: 'Input validation failed',
  429: 'Too many requests',
  503: 'Service unavailable',
}

function titleOf(status: number): string {
  return titles[status] ?? (status >= 500 ? 'Internal server error' : 'Bad request')
}
