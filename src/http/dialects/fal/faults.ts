import type { FastifyReply, FastifyRequest } from 'fastify'
import { clientMessage } from '../../../jobs/errors.ts'
import { httpStatus } from '../../status.ts'
import { faultOf, setFaultHeaders } from '../faults.ts'
import { inputNames } from './input.ts'

/** Sends an error as `{detail}`: a list with the place of each fault for 422, a text for every other status. */
export function sendFalFault(
  thrown: unknown,
  { request, reply, most }: { request: FastifyRequest; reply: FastifyReply; most: number },
): FastifyReply {
  const error = faultOf(thrown, request, { names: inputNames, most })
  const status = setFaultHeaders(reply, error, error.code === 'invalid_request' ? 422 : httpStatus(error))
  // its client repeats a 504 unless it is the client's own time-out
  if (status === 504) reply.header('x-fal-request-timeout-type', 'user')
  const message = clientMessage(error)
  if (status !== 422) return reply.send({ detail: message })
  const faults = error.faults.length > 0 ? error.faults : [{ param: error.param, message }]
  const detail = faults.map(({ param, message }) => ({
    loc: placeOf(param),
    msg: message,
    type: message.includes('is missing') ? 'missing' : 'value_error',
  }))
  return reply.send({ detail })
}

const inQuery = ['fal_webhook', 'webhook']

function placeOf(param: string | undefined): readonly string[] {
  if (param === undefined || param === 'body') return ['body']
  if (param.startsWith('x-')) return ['header', param]
  return inQuery.includes(param) ? ['query', 'fal_webhook'] : ['body', param]
}
