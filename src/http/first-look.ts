import type { FastifyRequest } from 'fastify'
import { AppError } from '../jobs/errors.ts'
import { type Hosts, requireOwnHost } from './hosts.ts'
import { canonicalForwardedFor } from './peer.ts'

/** What is decided from the headers alone, before a route runs or a byte of the body is read. */

/** Node drops what is over its own limit of headers silently; a limit of ours comes first and is answered. */
const mostHeaders = 200
const safeMethods = ['GET', 'HEAD', 'OPTIONS']

/**
 * Puts X-Forwarded-For into its one form; throws `invalid_request`, `wrong_host`, `cross_site` or
 * `unsupported_media_type` for a request that no route may see.
 */
export function firstLook(request: FastifyRequest, hosts: Hosts): void {
  const { headers } = request
  const forwarded = headers['x-forwarded-for']
  if (typeof forwarded === 'string') headers['x-forwarded-for'] = canonicalForwardedFor(forwarded)
  if (request.raw.rawHeaders.length > 2 * mostHeaders) {
    throw new AppError('invalid_request', `A request must have at most ${mostHeaders} headers.`)
  }
  requireOwnHost(request, hosts)
  refuseOtherSites(request)
  refuseEncodings(request)
}

/** Only browsers send this header. The page's own forms are checked more strictly, see `refuseCrossSite`. */
function refuseOtherSites({ method, headers }: FastifyRequest): void {
  if (safeMethods.includes(method) || headers['sec-fetch-site'] !== 'cross-site') return
  throw new AppError('cross_site', 'This request was sent by a page of another site.')
}

function refuseEncodings({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    const message = 'The body must not be compressed: send it without content-encoding.'
    throw new AppError('unsupported_media_type', message, { param: 'content-encoding' })
  }
  const transfer = headers['transfer-encoding']
  if (transfer === undefined || transfer.trim().toLowerCase() === 'chunked') return
  const message = 'The only transfer-encoding that a body may have is chunked.'
  throw new AppError('unsupported_media_type', message, { param: 'transfer-encoding' })
}
