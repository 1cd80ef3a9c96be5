import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { canonicalAddress } from '../jobs/account.ts'

/** Who is at the other end of a request, and what a proxy in between says of it. */

/** Whether the headers of this peer are believed. */
export type Trusts = (address: string) => boolean

/** From addresses and networks, separated by commas. Throws for text that is neither. */
export function trustedPeers(list: string | undefined): Trusts {
  const peers = new BlockList()
  for (const entry of (list ?? '').split(',').map((text) => text.trim())) {
    if (entry === '') continue
    const [address = '', bits] = entry.split('/', 2)
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    if (bits === undefined) peers.addAddress(address, family)
    else peers.addSubnet(address, isIPv4(bits) ? maskBits(bits) : Number(bits), family)
  }
  return (address) => isIP(address) !== 0 && peers.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

function maskBits(mask: string): number {
  const bits = mask.split('.').map((part) => Number(part).toString(2).padStart(8, '0'))
  return bits.join('').replace(/0+$/, '').length
}

/**
 * X-Forwarded-For with addresses in their one form. Each proxy appends what it saw, so the right end is the nearest:
 * text that is not an address, and everything left of it, is dropped, and the client is then the proxy that wrote it.
 */
export function canonicalForwardedFor(header: string): string {
  const addresses: string[] = []
  for (const entry of header.split(',').reverse()) {
    const address = canonicalAddress(entry.trim())
    if (address === undefined) break
    addresses.unshift(address)
  }
  return addresses.join(', ')
}

/**
 * The path under which a trusted proxy serves this server (`X-Forwarded-Prefix`), without a slash at its end; empty
 * without such a header, and for one that is not a plain path.
 */
export function prefixOf(request: FastifyRequest, trusts: Trusts): string {
  const given = request.headers['x-forwarded-prefix']
  if (typeof given !== 'string' || !trusts(request.socket.remoteAddress ?? '')) return ''
  const prefix = given.trim().replace(/\/$/, '')
  return prefix.length <= 200 && /^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$/.test(prefix) ? prefix : ''
}
