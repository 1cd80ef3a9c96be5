import { isIPv4, isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { AppError } from '../jobs/errors.ts'
import type { Trusts } from './peer.ts'

/**
 * Which names this server answers to. A page of another site can have its own name point to this machine (DNS
 * rebinding): for the browser it is then the same origin, and only the name in the request tells the two apart.
 */
export interface Hosts {
  /** Names in addition to `localhost` and addresses; `*.` stands for any name below. */
  readonly allowed: readonly string[]
  readonly trusts: Trusts
}

/** `PACKSHOT_ALLOWED_HOSTS` as names; a port in it has no meaning. */
export function hostNames(list: string | undefined): readonly string[] {
  const names = (list ?? '').split(',').map((text) => text.trim().toLowerCase())
  return names.filter((name) => name !== '').map((name) => nameIn(name) ?? name)
}

/** The host that a request is for, as `name` or `name:port`: that of an absolute target counts, not the header's. */
export function hostOf({ raw, host }: FastifyRequest): string {
  const target = /^https?:\/\/([^/?#]*)/i.exec(raw.url ?? '')?.[1]
  return target ?? host
}

/** The name in `name:port`, in lower case and without the dot of the root; undefined if it is not well-formed. */
function nameIn(host: string): string | undefined {
  const [, bracketed, name] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9*._-]+))(?::\d{0,5})?$/i.exec(host) ?? []
  if (bracketed !== undefined) return isIPv6(bracketed) ? bracketed : undefined
  return name?.toLowerCase().replace(/\.$/, '')
}

/** `localhost` and names below it, an address, or an allowed name. */
export function isOwnName(host: string, allowed: readonly string[]): boolean {
  const name = nameIn(host)
  if (name === undefined) return false
  if (name === 'localhost' || name.endsWith('.localhost') || isIPv4(name) || isIPv6(name)) return true
  return allowed.some((each) => (each.startsWith('*.') ? name.endsWith(each.slice(1)) : name === each))
}

/**
 * Throws `invalid_request` for a host that is missing or malformed, `wrong_host` for a name that is not this server's.
 * A trusted proxy answers for the names that it passes on, unless the operator lists the names.
 */
export function requireOwnHost(request: FastifyRequest, { allowed, trusts }: Hosts): void {
  const { rawHeaders, httpVersion } = request.raw
  const headers = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host')
  if (headers.length > 1) throw badHost('A request must have one Host header, but this one has more.')
  const host = hostOf(request)
  if (host === '') {
    if (httpVersion === '1.0' && headers.length === 0) return
    throw badHost('The Host header is missing.')
  }
  if (nameIn(host) === undefined) throw badHost('The Host header is not a host.')
  if (isOwnName(host, allowed)) return
  if (allowed.length === 0 && isForwarded(request, trusts)) return
  const shown = host.length > 100 ? `${host.slice(0, 100)}...` : host
  const message = `"${shown}" is not a name of this server. The operator can allow it with PACKSHOT_ALLOWED_HOSTS.`
  throw new AppError('wrong_host', message, { param: 'host' })
}

function badHost(message: string): AppError {
  return new AppError('invalid_request', message, { param: 'host' })
}

function isForwarded({ socket, headers }: FastifyRequest, trusts: Trusts): boolean {
  const forwarded = headers['x-forwarded-for'] ?? headers['x-forwarded-host']
  return forwarded !== undefined && trusts(socket.remoteAddress ?? '')
}
