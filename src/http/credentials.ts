import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Caller, type Credentials, whose } from '../jobs/caller.ts'
import { routeOf } from './route.ts'
import type { Services } from './services.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is; set before any route sees it. */
    caller: Caller
    /** The caller signed in on the page: its browser sends the cookie along whatever page asks it to. */
    signedIn: boolean
  }
  interface FastifyContextConfig {
    /** The route needs no key. */
    open?: boolean
  }
}

/**
 * The cookie of the page's sign-in. The prefix makes a browser take it from this host alone and over TLS alone, so it
 * has another name without TLS.
 */
export function sessionCookie({ protocol }: Pick<FastifyRequest, 'protocol'>): string {
  return protocol === 'https' ? '__Host-packshot' : 'packshot'
}

/**
 * Sets `request.caller`, and what every answer says of who may have it. Returns what recognises a request: it rejects
 * `unauthorized` and `rate_limited`.
 */
export function recogniseCallers(
  app: FastifyInstance,
  services: Services,
): (request: FastifyRequest) => Promise<void> {
  app.decorateRequest('caller')
  app.decorateRequest('signedIn', false)
  // without keys nobody is refused, and no answer depends on who asks
  if (services.signIn !== undefined) {
    app.addHook('onSend', async (request, reply) => {
      if (reply.statusCode === 401) challenge(request, reply)
      if (routeOf(request).config.open !== true) varyByCaller(reply)
    })
  }
  return async (request) => {
    const credentials = credentialsOf(request)
    request.caller = await services.caller(credentials)
    if (request.caller.keyId === undefined) return
    request.signedIn = credentials.key === undefined
    request.log = request.log.child(whose(request.caller))
  }
}

function challenge({ headers }: FastifyRequest, reply: FastifyReply): void {
  if (reply.hasHeader('www-authenticate')) return
  const error = headers.authorization === undefined ? '' : ', error="invalid_token"'
  reply.header('www-authenticate', `Bearer realm="Packshot"${error}`)
}

function varyByCaller(reply: FastifyReply): void {
  const before = reply.getHeader('vary')
  reply.header('vary', [before, 'authorization', 'cookie'].filter(Boolean).join(', '))
}

/** What a request brings to be recognised by. A key in `Authorization` counts before the session of a browser. */
function credentialsOf(request: FastifyRequest): Credentials {
  const { ip: address, headers, is404 } = request
  if (is404 || routeOf(request).config.open === true) return { address, open: true }
  const session = cookieIn(headers.cookie, sessionCookie(request))
  const key = keyIn(headers.authorization, session !== undefined)
  return {
    address,
    ...(key === undefined ? {} : { key }),
    ...(session === undefined ? {} : { session }),
  }
}

/**
 * The key in an `Authorization` header: after `Bearer`, `Token` or `Key`, or as user or password of `Basic`. Undefined if
 * the header names none; one that cannot be read is returned as it is, and is no key.
 *
 * @param hasSession the browser of somebody who signed in sends the password of a proxy in front along: it is not ours
 */
function keyIn(header: string | undefined, hasSession: boolean): string | undefined {
  const [, scheme = '', given = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(header ?? '') ?? []
  if (scheme === '' || (given === '' && /^(bearer|token|key|basic)$/i.test(scheme))) return undefined
  if (/^(bearer|token|key)$/i.test(scheme)) return given
  if (!/^basic$/i.test(scheme)) return `${scheme} ${given}`
  const [user = '', ...rest] = Buffer.from(given, 'base64').toString().split(':')
  const password = rest.join(':')
  if (user === '' && password === '') return undefined
  const key = [user, password].find((text) => text.startsWith('pks_'))
  return key ?? (hasSession ? undefined : password || user)
}

/** The value of a cookie in a `Cookie` header. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const [key, value = ''] = pair.split('=', 2)
    if (key?.trim() === name) return value.trim() || undefined
  }
  return undefined
}
