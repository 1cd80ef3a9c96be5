import type { FastifyInstance, FastifyRequest } from 'fastify'
import { prefixOf, type Trusts } from './peer.ts'

/**
 * A server behind a path of its proxy (`X-Forwarded-Prefix`): the proxy takes the path away from requests, and here it
 * is put in front of every address in an answer.
 */
export function serveUnderPrefix(app: FastifyInstance, trusts: Trusts): void {
  app.addHook('preSerialization', async (request, _reply, payload: unknown) => {
    const prefix = prefixOf(request, trusts)
    return prefix === '' ? payload : underPrefix(payload, prefix)
  })
  app.addHook('onSend', async (request: FastifyRequest, reply, payload: unknown) => {
    const prefix = prefixOf(request, trusts)
    if (prefix === '') return payload
    const location = reply.getHeader('location')
    if (typeof location === 'string' && location.startsWith('/')) reply.header('location', prefix + location)
    const isHtml = String(reply.getHeader('content-type')).startsWith('text/html')
    return isHtml && typeof payload === 'string' ? htmlUnderPrefix(payload, prefix) : payload
  })
}

/** The addresses of a job: `links` and the `url` of each picture; and those of catalogue runs. */
function underPrefix(payload: unknown, prefix: string): unknown {
  if (
    typeof payload === 'object' &&
    payload !== null &&
    'catalogues' in payload &&
    Array.isArray(payload.catalogues)
  ) {
    return { ...payload, catalogues: payload.catalogues.map((run) => underPrefix(run, prefix)) }
  }
  if (typeof payload === 'object' && payload !== null && 'rows' in payload && Array.isArray(payload.rows)) {
    const rows = payload.rows as readonly { link?: string }[]
    return {
      ...payload,
      rows: rows.map((row) => (row.link === undefined ? row : { ...row, link: prefix + row.link })),
    }
  }
  if (typeof payload !== 'object' || payload === null || !('links' in payload)) return payload
  const { links, images } = payload as { links: object; images?: readonly { url: string; link: string }[] }
  return {
    ...payload,
    links: Object.fromEntries(Object.entries(links).map(([name, path]) => [name, `${prefix}${path}`])),
    ...(images !== undefined && {
      images: images.map((image) => ({ ...image, url: prefix + image.url, link: prefix + image.link })),
    }),
  }
}

/**
 * Every address in our pages is a whole attribute in double quotes, and text of users cannot contain such quotes (see
 * page/html.ts), so that nothing else looks like one. Scripts read `data-root`.
 */
function htmlUnderPrefix(html: string, prefix: string): string {
  return html.replaceAll(/ (href|src|action|formaction|hx-get|hx-post|data-root)="\//g, ` $1="${prefix}/`)
}
