import { isIPv4, isIPv6 } from 'node:net'

/**
 * The account of a client that is known by its address only. One client must not appear as many: an IPv6 client has a
 * whole network to choose addresses from, proxies add ports, and one address can be written in many ways.
 */

/** How many leading bits of an IPv6 address identify a client: providers hand out networks of this size or larger. */
const defaultNetworkBits = 64

/** In canonical form; `unknown` for text that is not an address: all such clients share one account. */
export function accountOfAddress(text: string, networkBits: number = defaultNetworkBits): string {
  const address = canonicalAddress(text.trim())
  if (address === undefined) return 'unknown'
  if (isIPv4(address)) return address
  // the same machine, which reaches a server by either
  if (address === '::1') return '127.0.0.1'
  const kept = groupsOf(address).map((group, index) => {
    const bits = Math.min(16, Math.max(0, networkBits - index * 16))
    return group & (0xffff << (16 - bits))
  })
  return `${kept.map((group) => group.toString(16)).join(':')}/${networkBits}`
}

/**
 * The one form of an address that proxies write in many ways: without port, brackets and zone, and an IPv4 address as
 * such. Undefined for text that is not an address.
 */
export function canonicalAddress(text: string): string | undefined {
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

/** The eight groups of an IPv6 address in its canonical form. */
function groupsOf(address: string): number[] {
  const [before = '', after] = address.split('::')
  const parse = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const [start, end] = [parse(before), parse(after ?? '')]
  return [...start, ...Array<number>(8 - start.length - end.length).fill(0), ...end]
}
