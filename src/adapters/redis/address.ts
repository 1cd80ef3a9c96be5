import { AppError } from '../../jobs/errors.ts'

/** Where a Redis is and how to sign in. */
export interface Address {
  /** For people and logs: never holds the password. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
}

const param = 'PACKSHOT_STATUS_URL'
const form = 'a URL of the form redis://[user:password@]host[:6379][/0], or rediss:// for TLS'

/** Reads `redis[s]://[user:password@]host[:port][/database]`. Throws `unavailable`, without the password. */
export function parseAddress(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw startFault(`${param} is not ${form}.`)
  const { protocol, hostname, port, pathname } = url
  if (protocol !== 'redis:' && protocol !== 'rediss:') {
    throw startFault(`${param} must be ${form}.`)
  }
  if (hostname === '') throw startFault(`${param} names no host; it must be ${form}.`)
  const path = pathname.replace(/^\//, '')
  if (!/^\d{0,5}$/.test(path)) {
    throw startFault(`${param} has more than a database number behind the "/" that follows host and port.`)
  }
  if (url.search !== '' || url.hash !== '') {
    throw startFault(
      `${param} has parameters behind "?" or "#", which have no effect; the database is a number in the path, as in redis://host:6379/5.`,
    )
  }
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    name: `${hostname}:${port === '' ? 6379 : port}`,
    host,
    port: port === '' ? 6379 : Number(port),
    tls: protocol === 'rediss:',
    username: decoded(url.username),
    password: decoded(url.password),
    database: Number(path),
  }
}

/** A fault that ends startup: one sentence that names what to correct. */
export function startFault(message: string, cause?: unknown): AppError {
  return new AppError('unavailable', message, { param, ...(cause === undefined ? {} : { cause }) })
}

function decoded(text: string): string | undefined {
  if (text === '') return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    throw startFault(`The user or password in ${param} has a "%" that is not followed by two hex digits.`)
  }
}
