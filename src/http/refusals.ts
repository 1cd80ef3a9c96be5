import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { type ErrorCode, toAppError } from '../jobs/errors.ts'
import { hostOf } from './hosts.ts'

/** Takes note of an error that an operator should know of. */
export type Refusals = (request: FastifyRequest, thrown: unknown) => void

/** A stranger chooses the names: so many different ones are logged, once each. */
const mostLogged = 50

/** Faults of who may do what: ASVS 5.0, 16.3.1 to 16.3.3. */
const security: readonly ErrorCode[] = ['unauthorized', 'forbidden', 'rate_limited']
const againMs = 60_000
const mostCallers = 1000

/**
 * One line in the log for each name from or for which requests are refused, so that an operator finds the setting; and for
 * keys that are not valid, calls that a caller may not make and limits that it has reached, once a minute for each caller or
 * address.
 */
export function refusals(log: FastifyBaseLogger): Refusals {
  const seen = new Set<string>()
  const loggedAt = new Map<string, number>()
  const shown = (text: string | undefined) => text?.slice(0, 100)

  function lately(name: string): boolean {
    const now = performance.now()
    if (now - (loggedAt.get(name) ?? Number.NEGATIVE_INFINITY) < againMs) return true
    if (loggedAt.size >= mostCallers) loggedAt.clear()
    loggedAt.set(name, now)
    return false
  }

  return (request, thrown) => {
    const { code, message } = toAppError(thrown)
    if (security.includes(code)) {
      const { keyId } = request.caller ?? {}
      // a visitor that has not signed in yet
      if (code === 'unauthorized' && request.method === 'GET' && request.headers.authorization === undefined)
        return
      if (lately(`${code} ${keyId ?? request.ip}`)) return
      request.log.warn(
        { code, address: keyId === undefined ? request.ip : undefined },
        `request refused: ${message}`,
      )
    }
    if (code !== 'wrong_host' && code !== 'cross_site') return
    const [host, origin] = [shown(hostOf(request)), shown(request.headers.origin)]
    const name = `${code} ${host} ${origin}`
    if (seen.has(name) || seen.size >= mostLogged) return
    seen.add(name)
    log.warn({ code, host, origin }, `request refused: ${message}`)
  }
}
