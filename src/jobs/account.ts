import { isIP } from 'node:net'

/**
 * The account of a client that is known by its address only. One client must not appear as many: an IPv6 client has a
 * whole network to choose addresses from, proxies add ports, and one address can be written in many ways.
 */

/** How many leading bits of an IPv6 address identify a client: providers hand out networks of this size or larger. */
const defaultNetworkBits = 64

/** In canonical form; `unknown` for text that is not an address: all such clients share one account. */
export function accountOfAddress(text: string, networkBits: number = defaultNetworkBits): string {
  const address = withoutPort(text.trim())
  if (isIP(address) === 4) return address
  const groups = groupsOf(address)
  if (groups === undefined) return 'unknown'
  // the same machine, which reaches a server by either
  if (groups.join() === '0,0,0,0,0,0,0,1') return '127.0.0.1'
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (mapped)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.')
  const kept = groups.map((group, index) => {
    const bits = Math.min(16, Math.max(0, networkBits - index * 16))
    return group & (0xffff << (16 - bits))
  })
  return `${kept.map((group) => group.toString(16)).join(':')}/${networkBits}`
}

/** `1.2.3.4:56`, `[::1]:56` and `fe80::1%eth0` without the rest. */
function withoutPort(text: string): string {
  const [, inBrackets] = /^\[([^\]]*)\](?::\d*)?$/.exec(text) ?? []
  const [, v4] = /^(\d+\.\d+\.\d+\.\d+):\d*$/.exec(text) ?? []
  return (inBrackets ?? v4 ?? text).replace(/%.*$/, '')
}

/** The eight groups of an IPv6 address; undefined if it is none. */
function groupsOf(address: string): number[] | undefined {
  if (isIP(address) !== 6) return undefined
  const host = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [before = '', after] = host.split('::')
  const parse = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const [start, end] = [parse(before), parse(after ?? '')]
  return [...start, ...Array<number>(8 - start.length - end.length).fill(0), ...end]
}
