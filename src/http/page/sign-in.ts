import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, clientMessage, toAppError } from '../../jobs/errors.ts'
import { sessionCookie } from '../credentials.ts'
import type { Hosts } from '../hosts.ts'
import type { Refusals } from '../refusals.ts'
import type { Services } from '../services.ts'
import { isFragment, sendPage, setErrorHeaders } from './answers.ts'
import type { Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { refuseCrossSite } from './security.ts'

interface SignInOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
  readonly refused: Refusals
}

/** GET and POST /sign-in: exchanges a key for the session of this browser. POST /sign-out ends it. */
export function signInRoutes(
  app: FastifyInstance,
  { services, assets, hosts, refused }: SignInOptions,
): void {
  const config = { open: true }
  const show = (reply: FastifyReply, next: string, fault?: string) =>
    sendPage(reply, assets, { title: 'Packshot: sign in', body: signInForm(next, fault) })

  app.get('/sign-in', { config }, (request, reply) => show(reply, nextIn(request.query)))

  app.post('/sign-in', { config }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    const next = nextIn(request.body)
    const { key } = (request.body ?? {}) as { key?: unknown }
    try {
      if (services.signIn === undefined) throw new AppError('not_found', 'Nobody signs in here.')
      if (typeof key !== 'string' || key.trim() === '')
        throw new AppError('unauthorized', 'The key is missing.')
      const { session, seconds } = await services.signIn(key, request.ip)
      return setCookie(request, reply, session, seconds).redirect(next, 303)
    } catch (thrown) {
      const error = toAppError(thrown)
      refused(request, error)
      setErrorHeaders(reply, error)
      return show(reply, next, clientMessage(error))
    }
  })

  app.post('/sign-out', { config }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    return setCookie(request, reply, '', 0).redirect('/sign-in', 303)
  })
}

/** Sends a visitor without a session to where it gets one, and from there back to what it asked for. */
export function toSignIn(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // htmx loads the page again, which comes here as a whole
  if (isFragment(request)) return reply.code(401).headers({ 'hx-refresh': 'true' }).send('')
  const next = request.method === 'GET' ? request.url : '/'
  return reply.header('cache-control', 'no-store').redirect(`/sign-in?${new URLSearchParams({ next })}`, 303)
}

function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  value: string,
  seconds: number,
): FastifyReply {
  const secure = request.protocol === 'https' ? '; Secure' : ''
  const cookie = `${sessionCookie(request)}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`
  return reply.headers({ 'set-cookie': cookie, 'cache-control': 'no-store' })
}

/** A path on this server: an address of another one must not follow a sign-in. */
function nextIn(fields: unknown): string {
  const { next } = (fields ?? {}) as { next?: unknown }
  return typeof next === 'string' && /^\/(?![/\\])[\x21-\x7e]*$/.test(next) && next.length <= 8000
    ? next
    : '/'
}

function signInForm(next: string, fault: string | undefined): Html {
  const wrong = fault !== undefined
  return html`<div class="single sign-in">
<h1>Sign in</h1>
<form class="card" method="post" action="/sign-in">
<div class="field${wrong && ' is-wrong'}"><label for="key">Key</label>
<input id="key" name="key" type="password" required autofocus autocomplete="current-password" autocapitalize="none" spellcheck="false"${wrong && html` aria-invalid="true" aria-describedby="key-error"`}>
<div class="field-notes">${wrong && html`<p class="field-error" id="key-error" role="alert">${fault}</p>`}</div></div>
<input type="hidden" name="next" value="${next}">
<button class="btn filled" type="submit">Sign in</button>
</form>
<p class="sign-in-help">The key was given to you by the person who runs this studio. It begins with <code>pks_</code>.</p>
</div>`
}
