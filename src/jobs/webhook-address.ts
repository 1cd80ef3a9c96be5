import { BlockList, isIP } from 'node:net'

/**
 * Where webhooks may be sent. Anybody names receivers, so none may be a machine that only this one can reach: a name is
 * checked when it is given, and the address behind it whenever a connection is made.
 */
export interface WebhookRules {
  /** Why nothing may be sent to this URL: the rest of a sentence about it. Undefined if something may. No name is resolved. */
  faultOf(url: string): string | undefined
  /** Whether the operator lists it: then it may be in a private network. */
  isListed(url: URL): boolean
  /** Whether a connection to this address is allowed, to which the host of the URL resolves. */
  allows(url: URL, address: string): boolean
}

const longestUrl = 2048
const publicPorts = ['', '443', '8443']

/** Not the public internet, by the special-purpose registries of IANA (RFC 6890). */
const reserved: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

/** The only IPv6 addresses that are given out (2000::/3), and what in it is not a machine's. */
const globalUnicast: readonly [string, number] = ['2000::', 3]
const reserved6: readonly (readonly [string, number])[] = [
  // protocol assignments (Teredo with them), documentation, 6to4, which leads to an IPv4 address
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

const blocked = new BlockList()
const global6 = new BlockList()

/** Whether this IP address is on the public internet. IPv4 addresses within IPv6 ones count as what they are. */
export function isPublicAddress(address: string): boolean {
  fill()
  const family = isIP(address)
  if (family === 4) return !blocked.check(address, 'ipv4')
  if (family !== 6 || address.includes('%')) return false
  const inside = ipv4Within(address)
  if (inside !== undefined) return isPublicAddress(inside)
  return global6.check(address, 'ipv6') && !blocked.check(address, 'ipv6')
}

let filled = false
function fill(): void {
  if (filled) return
  for (const [net, bits] of reserved) blocked.addSubnet(net, bits, 'ipv4')
  for (const [net, bits] of reserved6) blocked.addSubnet(net, bits, 'ipv6')
  global6.addSubnet(...globalUnicast, 'ipv6')
  filled = true
}

/** The IPv4 address in an IPv4-mapped (::ffff:0:0/96) or translated (64:ff9b::/96) one. */
function ipv4Within(address: string): string | undefined {
  // the URL parser writes every address in its one shortest form
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [, high, low] = /^(?:::ffff:|64:ff9b::)(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/.exec(short) ?? []
  if (low === undefined) return undefined
  const [a, b] = [Number.parseInt(high ?? '0', 16), Number.parseInt(low, 16)]
  return [a >> 8, a & 255, b >> 8, b & 255].join('.')
}

/** Names that are never on the public internet: RFC 6761, RFC 6762, RFC 8375, ICANN's reservation of .internal, and usual ones. */
const privateNames =
  /(^|\.)(localhost|local|internal|intranet|lan|home|corp|private|home\.arpa|onion|test|invalid|example)$/

/** One entry of `PACKSHOT_WEBHOOK_HOSTS`. */
interface Allowed {
  readonly host: string
  /** Absent: any. */
  readonly port: string | undefined
}

/** Undefined for text that is no entry: `hooks.lan`, `*.lan`, `10.0.0.7:8080`, `[fd00::7]:8080`. */
export function parseWebhookHost(entry: string): Allowed | undefined {
  const [, six, plain, port] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9*._-]+))(?::(\d{1,5}))?$/i.exec(entry) ?? []
  const host = six ?? plain?.toLowerCase()
  if (host === undefined || !/^(\*\.)?[^*]+$/.test(host) || Number(port ?? 1) > 65_535) return undefined
  if (six !== undefined)
    return isIP(six) === 6 ? { host: hostOf(new URL(`http://[${six}]`)), port } : undefined
  const name = host.replace(/^\*\./, '')
  return URL.canParse(`http://${name}`) && hostOf(new URL(`http://${name}`)) === name
    ? { host, port }
    : undefined
}

/** The host without brackets and a dot at its end. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
}

/** @param hosts entries that `parseWebhookHost` understands: these may use http and private addresses */
export function webhookRules(hosts: readonly string[] = []): WebhookRules {
  const allowed = hosts.flatMap((entry) => parseWebhookHost(entry) ?? [])
  const isListed = (url: URL) => {
    const [host, port] = [hostOf(url), url.port || (url.protocol === 'https:' ? '443' : '80')]
    return allowed.some(
      (entry) =>
        (entry.host.startsWith('*.') ? host.endsWith(entry.host.slice(1)) : host === entry.host) &&
        (entry.port === undefined || entry.port === port),
    )
  }
  return {
    faultOf(text) {
      if (text.length > longestUrl)
        return `must have at most ${longestUrl} characters, but had ${text.length}`
      // the parser drops these silently
      if (/[^\x21-\x7e]/.test(text)) return 'must be an address without spaces and with ASCII characters only'
      const url = URL.canParse(text) ? new URL(text) : undefined
      if (url === undefined) return 'must be an address such as https://shop.example.com/hook'
      if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https://'
      if (url.username !== '' || url.password !== '') return 'must not have a user or password in it'
      if (text.includes('#')) return 'must not have a fragment (#)'
      if (isListed(url)) return undefined
      if (url.protocol !== 'https:') return 'must begin with https://'
      if (!publicPorts.includes(url.port)) return `must use port 443 or 8443, not ${url.port}`
      return hostFault(hostOf(url))
    },
    isListed,
    allows: (url, address) => isListed(url) || isPublicAddress(address),
  }
}

function hostFault(host: string): string | undefined {
  if (isIP(host) !== 0) {
    return isPublicAddress(host) ? undefined : `must be on the public internet, which ${host} is not`
  }
  if (host.includes('.') && !privateNames.test(host)) return undefined
  return `must be on the public internet, and ${JSON.stringify(host)} is a name of a private network`
}
