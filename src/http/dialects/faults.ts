import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import { httpFault } from '../faults.ts'
import { httpStatus, retryAfterSeconds } from '../status.ts'

/** Our names of fields, with the dialect's: `{ width: 'size' }`. */
export type FieldNames = Readonly<Record<string, string>>

/**
 * The error of a request, with the names that its client knows, for a dialect's own error handler. `most` is the body limit.
 */
export function faultOf(
  thrown: unknown,
  request: FastifyRequest,
  { names = {}, most }: { readonly names?: FieldNames; readonly most?: number } = {},
): AppError {
  const error = httpFault(thrown)
  if (error.code === 'internal')
    request.log.error({ err: thrown, url: request.url }, 'internal error while answering a request')
  if (error.code === 'body_too_large' && error.cause !== undefined && most !== undefined) {
    return new AppError('body_too_large', `The body must have at most ${most} bytes.`, { cause: thrown })
  }
  return renamed(error, names)
}

function renamed(error: AppError, names: FieldNames): AppError {
  const called = (param: string) => (Object.hasOwn(names, param) ? names[param] : undefined)
  const { code, param, retryAfterSeconds, faults } = error
  if (param === undefined || ![param, ...faults.map((fault) => fault.param)].some(called)) return error
  const theirs = faults.map((fault) => {
    const name = called(fault.param)
    return name === undefined ? fault : { param: name, message: `${name}: ${fault.message}` }
  })
  const message = theirs.length === 0 ? error.message : theirs.map((fault) => fault.message).join(' ')
  return new AppError(code, message, {
    param: called(param) ?? param,
    faults: theirs,
    cause: error,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  })
}

/**
 * What every error answer has, whatever its body: status, `Retry-After`, and `x-should-retry: false` where a repeated
 * call would not help although clients repeat for that status: the job continues, or was canceled.
 * @returns the status
 */
export function setFaultHeaders(reply: FastifyReply, error: AppError, status = httpStatus(error)): number {
  const seconds = retryAfterSeconds(error)
  if (seconds !== undefined) reply.header('retry-after', seconds)
  if (status === 409 || status === 504) reply.header('x-should-retry', 'false')
  reply.code(status).header('cache-control', 'no-store')
  return status
}
