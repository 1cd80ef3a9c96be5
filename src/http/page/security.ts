import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import { type Hosts, hostOf, isOwnName } from '../hosts.ts'

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

/** The page needs none of these. */
export const permissionsPolicy =
  'camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=(), display-capture=()'

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
    'permissions-policy': permissionsPolicy,
  })
}

/**
 * Refuses a form that a page of another site submitted through the visitor's browser. A browser says where a post
 * comes from in `Sec-Fetch-Site` or, if that is missing, in `Origin`; a request with neither is not from a browser
 * and could use the API just as well.
 */
export function refuseCrossSite(request: FastifyRequest, hosts: Hosts): void {
  const site = request.headers['sec-fetch-site']
  const { origin } = request.headers
  if (site === undefined ? origin === undefined : site === 'same-origin' || site === 'none') return
  if (site === undefined && origin !== undefined && isOwn(origin, request, hosts)) return
  throw new AppError('cross_site', whyForeign(request))
}

/**
 * The same for a request that a browser's cookie stands for, on every route that changes something: such a request says
 * where it comes from, as every browser does, or is refused.
 */
export function requireOwnPage(request: FastifyRequest, hosts: Hosts): void {
  if (['GET', 'HEAD', 'OPTIONS'].includes(request.method)) return
  refuseCrossSite(request, hosts)
  const { origin, 'sec-fetch-site': site } = request.headers
  if (site !== undefined || origin !== undefined) return
  throw new AppError('cross_site', 'This request does not say which page sent it.')
}

/**
 * The scheme is not compared: behind a proxy that terminates TLS the server does not know it. An allowed name is ours
 * on any port: a proxy may pass on another host or leave the port out.
 */
function isOwn(origin: string, request: FastifyRequest, { allowed }: Hosts): boolean {
  const from = hostIn(origin)
  if (from === undefined) return false
  return from === hostIn(`http://${hostOf(request)}`) || isAllowedName(from, allowed)
}

function isAllowedName(host: string, allowed: readonly string[]): boolean {
  return allowed.length > 0 && isOwnName(host, allowed) && !isOwnName(host, [])
}

function hostIn(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined
}

/** Over plain HTTP under a name a browser sends Origin alone: then it may be our own page behind a proxy. */
function whyForeign(request: FastifyRequest): string {
  const { origin, 'sec-fetch-site': site } = request.headers
  const from = origin === undefined ? undefined : hostIn(origin)
  if (site !== undefined || from === undefined) return 'This form was sent by a page of another site.'
  const shown = from.length > 100 ? `${from.slice(0, 100)}...` : from
  return `This form came from a page at "${shown}", but this server was addressed as "${hostOf(request)}". If a proxy is in front, have it pass on its own name (nginx: proxy_set_header Host $http_host), or set PACKSHOT_ALLOWED_HOSTS.`
}
