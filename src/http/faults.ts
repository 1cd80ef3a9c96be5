import type { FastifyReply } from 'fastify'
import { type Static, Type } from 'typebox'
import { AppError, clientMessage, toAppError } from '../jobs/errors.ts'
import { httpStatus, retryAfterSeconds } from './status.ts'

/** The body of every error answer. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'One of the codes in docs/errors.md.' }),
    message: Type.String(),
    param: Type.Optional(Type.String({ description: 'The invalid field, header or path part.' })),
    faults: Type.Optional(
      Type.Array(Type.Object({ row: Type.Integer(), param: Type.String(), message: Type.String() }), {
        description: 'Of a list: what is wrong in which row, the first 100.',
      }),
    ),
    fault_count: Type.Optional(Type.Integer({ description: 'How many faults the list has.' })),
  }),
})
export type ErrorBody = Static<typeof ErrorBody>

/** 64 KiB: far more than a prompt of 2 000 characters with every setting needs. */
export const bodyLimit = 65_536

/**
 * A thrown value as the error for the client: an `AppError` unchanged, a fault that fastify found in the request
 * by its status, everything else `internal`.
 */
export function httpFault(thrown: unknown): AppError {
  if (thrown instanceof AppError || !(thrown instanceof Error) || !('statusCode' in thrown))
    return toAppError(thrown)
  const details = { cause: thrown }
  const code = 'code' in thrown ? thrown.code : undefined
  switch (thrown.statusCode) {
    case 400:
      if (code === 'FST_ERR_CTP_INVALID_CONTENT_LENGTH') {
        return new AppError(
          'invalid_request',
          'The length of the body does not match content-length.',
          details,
        )
      }
      if (code === 'FST_ERR_CTP_EMPTY_JSON_BODY')
        return new AppError('invalid_json', 'The body is empty.', details)
      return new AppError('invalid_json', 'The body is not valid JSON.', details)
    case 404:
      return new AppError('not_found', 'There is nothing at this address.', details)
    case 413:
      return new AppError('body_too_large', `The body must have at most ${bodyLimit} bytes.`, details)
    case 414:
    case 431:
      return new AppError('invalid_request', 'The URL or the headers are too long.', details)
    case 415:
      return new AppError('unsupported_media_type', 'The body must be application/json.', details)
    default:
      return toAppError(thrown)
  }
}

export function sendFault(reply: FastifyReply, error: AppError): FastifyReply {
  const retryAfter = retryAfterSeconds(error)
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  const { code, param } = error
  const message = clientMessage(error)
  const body: ErrorBody = {
    error: { code, message, ...(param === undefined ? {} : { param }), ...faultsOfRows(error) },
  }
  return reply.code(httpStatus(error)).header('cache-control', 'no-store').send(body)
}

function faultsOfRows({ faults, faultCount }: AppError): Partial<ErrorBody['error']> {
  const ofRows = faults.flatMap(({ row, param, message }) =>
    row === undefined ? [] : [{ row, param, message }],
  )
  return ofRows.length === 0 ? {} : { faults: ofRows, fault_count: faultCount }
}
