import { type LookupAddress, lookup as systemLookup } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import {
  type ClientRequest,
  type IncomingMessage,
  Agent as PlainAgent,
  request as plainRequest,
} from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import type { WebhookAnswer, WebhookPost } from '../../jobs/ports.ts'
import type { WebhookRules } from '../../jobs/webhook-address.ts'

export interface PostOptions {
  readonly rules: WebhookRules
  /** Resolves a name to all its addresses; absent: by DNS or, for a name that the operator lists, as the system does. */
  readonly resolve?: (host: string) => Promise<readonly LookupAddress[]>
  /** `address:port` of DNS servers; absent: those of the system. */
  readonly dnsServers?: readonly string[]
  /** Until the connection stands, TLS included. */
  readonly connectMs?: number
  /** Until the answer has been read. */
  readonly totalMs?: number
}

/** What is read of an answer's body; its content does not matter. */
const readBytes = 65_536

/**
 * Sends a message by HTTP/1.1, on a connection of its own, without cookies, proxies and redirects. The address is
 * checked where the connection is made, so that a name which changes its address between a check and the connection
 * gains nothing: a name with any address that is not allowed is refused.
 */
export function webhookPost(options: PostOptions): WebhookPost {
  const { rules, connectMs = 5000, totalMs = 15_000 } = options
  return async (text, { headers, body, signal }) => {
    const fault = rules.faultOf(text)
    if (fault !== undefined) throw new Error(`The address ${fault}.`)
    const url = new URL(text)
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const refusal = (address: string) => new Error(`${host} is at ${address}, to which nothing may be sent.`)
    // no name is looked up for an address
    if (isIP(host) !== 0 && !rules.allows(url, host)) throw refusal(host)
    const resolve = options.resolve ?? (rules.isListed(url) ? bySystem : byDns(options.dnsServers))
    const lookup: LookupFunction = (name, { all }, done) => {
      resolve(name).then(
        (found) => {
          const wrong = found.find(({ address }) => !rules.allows(url, address))
          const [first] = found
          if (first === undefined) return done(new Error(`${host} has no address.`), '')
          if (wrong !== undefined) return done(refusal(wrong.address), '')
          return all === true ? done(null, [...found]) : done(null, first.address, first.family)
        },
        (thrown: NodeJS.ErrnoException) => done(thrown, ''),
      )
    }
    const isTls = url.protocol === 'https:'
    const shared = {
      method: 'POST',
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      lookup,
      signal: AbortSignal.any([signal, AbortSignal.timeout(totalMs)]),
    }
    const request = isTls
      ? tlsRequest(url, { ...shared, agent: new TlsAgent({ keepAlive: false }), rejectUnauthorized: true })
      : plainRequest(url, { ...shared, agent: new PlainAgent({ keepAlive: false }) })
    return answerOf(request, body, isTls ? 'secureConnect' : 'connect', connectMs)
  }
}

/** The status decides; the rest of the answer is read so that its sender can end in peace, up to a bound. */
function answerOf(
  request: ClientRequest,
  body: string,
  connected: 'secureConnect' | 'connect',
  connectMs: number,
): Promise<WebhookAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<WebhookAnswer>()
  const late = setTimeout(() => request.destroy(new Error('No connection in time.')), connectMs)
  request.on('socket', (socket) => socket.once(connected, () => clearTimeout(late)))
  let answer: WebhookAnswer | undefined
  const fail = (reason: Error) => (answer === undefined ? reject(reason) : resolve(answer))
  request.on('error', fail)
  request.on('close', () => {
    clearTimeout(late)
    fail(new Error('The connection ended without an answer.'))
  })
  request.on('response', (response) => {
    answer = readAnswer(response)
    let rest = readBytes
    // the end of the request settles it
    const end = () => void request.destroy()
    response.on('data', (chunk: Buffer) => {
      rest -= chunk.length
      if (rest <= 0) end()
    })
    for (const event of ['end', 'error', 'aborted', 'close']) response.on(event, end)
  })
  request.end(body)
  return promise
}

function readAnswer({ statusCode = 0, headers }: IncomingMessage): WebhookAnswer {
  const after = headers['retry-after']?.trim() ?? ''
  const seconds = /^\d{1,9}$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000
  return { status: statusCode, ...(seconds > 0 ? { retryAfterSeconds: Math.ceil(seconds) } : {}) }
}

/** Knows names of the private network. It occupies one of the few threads of this process until it is answered. */
function bySystem(host: string): Promise<LookupAddress[]> {
  const { promise, resolve, reject } = Promise.withResolvers<LookupAddress[]>()
  systemLookup(host, { all: true }, (thrown, found) => (thrown === null ? resolve(found) : reject(thrown)))
  return promise
}

/** Without a thread: anybody can have a name whose DNS server does not answer. */
function byDns(servers?: readonly string[]): (host: string) => Promise<LookupAddress[]> {
  return async (host) => {
    const resolver = new Resolver({ timeout: 2000, tries: 2 })
    if (servers !== undefined) resolver.setServers(servers)
    const [four, six] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    if (four.status === 'rejected' && six.status === 'rejected') throw four.reason
    const found = (answer: typeof four, family: 4 | 6) =>
      answer.status === 'rejected' ? [] : answer.value.map((address) => ({ address, family }))
    return [...found(four, 4), ...found(six, 6)]
  }
}
