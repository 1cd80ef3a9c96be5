import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'

/** Only our own files (and pictures from the storage's origin), no inline code or style, no framing of the page. */
const contentSecurityPolicy = (imageOrigin: string | undefined) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    imageOrigin === undefined ? "img-src 'self'" : `img-src 'self' ${imageOrigin}`,
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

/**
 * Headers of every page, fragment and file.
 *
 * The referrer policy is `same-origin`, not `no-referrer`: both keep job URLs, which are secrets, from other
 * sites, but under `no-referrer` a browser sends `Origin: null` with our own form posts, and over plain HTTP in a
 * local network, where it sends no `Sec-Fetch-Site` either, they could not be distinguished from foreign ones.
 */
export function setSecurityHeaders(reply: FastifyReply, imageOrigin: string | undefined): void {
  reply.headers({
    'content-security-policy': contentSecurityPolicy(imageOrigin),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  })
}

/**
 * Refuses a form that a page of another site submitted through the visitor's browser. A browser says where a post
 * comes from in `Sec-Fetch-Site` or, if that is missing, in `Origin`; a request with neither is not from a browser
 * and could use the API just as well.
 */
export function refuseCrossSite(request: FastifyRequest): void {
  const site = request.headers['sec-fetch-site']
  const origin = request.headers.origin
  const ours =
    site !== undefined
      ? site === 'same-origin' || site === 'none'
      : origin === undefined || isOwn(origin, request)
  if (!ours) throw new AppError('cross_site', 'This form was sent by a page of another site.')
}

/** The scheme is not compared: behind a proxy that terminates TLS the server does not know it. */
function isOwn(origin: string, request: FastifyRequest): boolean {
  return URL.canParse(origin) && new URL(origin).host === request.host
}
