import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { AppError } from '../jobs/errors.ts'
import { hostOf } from './hosts.ts'

/** Takes note of an error that points to a proxy or a name that is not set up. */
export type Refusals = (request: FastifyRequest, thrown: unknown) => void

/** A stranger chooses the names: so many different ones are logged, once each. */
const mostLogged = 50

/** One line in the log for each name from or for which requests are refused, so that an operator finds the setting. */
export function refusals(log: FastifyBaseLogger): Refusals {
  const seen = new Set<string>()
  return (request, thrown) => {
    if (!(thrown instanceof AppError) || (thrown.code !== 'wrong_host' && thrown.code !== 'cross_site'))
      return
    const shown = (text: string | undefined) => text?.slice(0, 100)
    const [host, origin] = [shown(hostOf(request)), shown(request.headers.origin)]
    const name = `${thrown.code} ${host} ${origin}`
    if (seen.has(name) || seen.size >= mostLogged) return
    seen.add(name)
    log.warn({ code: thrown.code, host, origin }, `request refused: ${thrown.message}`)
  }
}
