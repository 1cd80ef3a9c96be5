import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'

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
 * The one form of an address that proxies write in many ways: without port, brackets and zone, and an IPv4 address as
 * such. Undefined for text that is not an address.
 */
function canonicalAddress(text: string): string | undefined {
  const [, bracketed] = /^\[([^\]]*)\](?::\d*)?$/.exec(text) ?? []
  const [, v4] = /^(\d+(?:\.\d+){3}):\d*$/.exec(text) ?? []
  const address = (bracketed ?? v4 ?? text).replace(/%.*$/, '')
  if (isIPv4(address)) return address
  if (!isIPv6(address)) return undefined
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? []
  if (high === undefined || low === undefined) return canonical
  return [high, low].flatMap((part) => [...Buffer.from(part.padStart(4, '0'), 'hex')]).join('.')
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
