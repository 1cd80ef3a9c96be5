import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AppError } from '../../jobs/errors.ts'
import { httpStatus, retryAfterSeconds } from '../status.ts'
import { type Assets, type Encoding, encodingFor, loadAssets } from './assets.ts'
import { goneCard } from './card.ts'
import { errorBody, errorMessage, errorTitle } from './error-page.ts'
import { type Html, html } from './html.ts'
import { document, type Page } from './layout.ts'
import type { Around, Room } from './navigation.ts'
import { setSecurityHeaders } from './security.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the masthead of a page shows; set before a route of the page sees the request. */
    around?: Around
  }
  interface FastifyContextConfig {
    room?: Room
  }
}

/** htmx sends this header; everything else gets a whole page. */
export function isFragment(request: FastifyRequest): boolean {
  return request.headers['hx-request'] === 'true'
}

/** Prompts are private to the visitor: no cache may keep a page or a fragment. */
export function sendPage(reply: FastifyReply, assets: Assets, page: Page): FastifyReply {
  const { signedIn, caller, around } = reply.request
  const framed = { ...page, ...(around === undefined ? {} : { around }) }
  return sendHtml(reply, document(assets, framed, signedIn ? caller.name : undefined))
}

/** `packshot-fragment` distinguishes our fragment, shown whatever its status, from a proxy's error page. */
export function sendFragment(reply: FastifyReply, fragment: Html): FastifyReply {
  return sendHtml(reply.header('packshot-fragment', '1'), fragment.toString())
}

function sendHtml(reply: FastifyReply, text: string): FastifyReply {
  const headers = { 'cache-control': 'no-store', vary: 'hx-request' }
  return reply.headers(headers).type('text/html; charset=utf-8').send(text)
}

/** Whole pages of this plugin are compressed, as the last thing that is done to them. */
export function compressPages(app: FastifyInstance): void {
  app.addHook('onSend', (request, reply, payload: unknown, done) => {
    const { method, url, headers } = request
    // the length of a page that repeats what its address says would tell a stranger who chose that what else is in it
    const isPage = method === 'GET' && !url.includes('?') && !isFragment(request)
    const isHtml = String(reply.getHeader('content-type')).startsWith('text/html')
    if (!isPage || !isHtml || typeof payload !== 'string') return done(null, payload)
    reply.header('vary', 'hx-request, accept-encoding')
    const encoding = encodingFor(headers['accept-encoding'])
    if (encoding === undefined) return done(null, payload)
    reply.header('content-encoding', encoding)
    done(null, compress[encoding](payload))
  })
}

/** Of a page of 30 KB either takes less than a millisecond, and leaves a quarter of it. */
const compress: Readonly<Record<Encoding, (text: string) => Buffer>> = {
  br: (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
  gzip: (text) => gzipSync(text, { level: 5 }),
}

export function setErrorHeaders(reply: FastifyReply, error: AppError): void {
  reply.code(httpStatus(error))
  const retryAfter = retryAfterSeconds(error)
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
}

/**
 * A page about the error. A polling card is replaced if its job is gone for good; on any other error it gets no
 * fragment, keeps what it shows and polls again.
 */
export function sendError(
  assets: Assets,
  error: AppError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  setErrorHeaders(reply, error)
  if (!isFragment(request)) {
    return sendPage(reply, assets, { title: `Packshot: ${errorTitle(error)}`, body: errorBody(error) })
  }
  if (request.method === 'POST' && request.routeOptions.url === '/jobs') {
    // the form keeps what was typed, and says why it was not sent
    reply.headers({ 'hx-retarget': '#request', 'hx-reswap': 'afterbegin' })
    return sendFragment(reply, html`<p class="form-error" role="alert">${error.message}</p>`)
  }
  const { id = '' } = request.params as { id?: string }
  if (ofCard.test(request.routeOptions.url ?? '') && /^[\w-]+$/.test(id)) {
    // the card stays, and says why nothing came of its button
    reply.headers({ 'hx-retarget': `#job-${id}-answer`, 'hx-reswap': 'innerHTML' })
    return sendFragment(reply, html`<p class="form-error" role="alert">${errorMessage(error)}</p>`)
  }
  if (error.code !== 'not_found' && error.code !== 'expired') return sendHtml(reply, '')
  return sendFragment(reply, goneCard(errorTitle(error), errorMessage(error)))
}

/** What a card's buttons ask for beside its own state. */
const ofCard = /^\/jobs\/:id\/(?:vary|photo|finish)$/

/** Whether to show an error to a person: the client is a browser, and the path is not part of the API. */
export function wantsPage(request: FastifyRequest): boolean {
  const { method, url, headers } = request
  const reads = method === 'GET' || method === 'HEAD'
  return reads && !url.startsWith('/v1/') && headers.accept?.includes('text/html') === true
}

/** Sends the error page for addresses outside of this plugin; see `wantsPage`. */
export async function errorPages(): Promise<(error: AppError, reply: FastifyReply) => FastifyReply> {
  const assets = await loadAssets()
  return (error, reply) => {
    setSecurityHeaders(reply, undefined)
    setErrorHeaders(reply, error)
    return sendPage(reply, assets, { title: `Packshot: ${errorTitle(error)}`, body: errorBody(error) })
  }
}
