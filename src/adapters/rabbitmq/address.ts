import { AppError } from '../../jobs/errors.ts'

/** Host and account of the broker. */
export interface Address {
  readonly hostname: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly vhost: string
  readonly tls: boolean
}

/** Rejects anything but an AMQP URL. Messages contain only its host and port: a URL holds a password. */
export function parseAddress(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'amqp:' && url.protocol !== 'amqps:') || url.hostname === '') {
    throw badUrl('is not a RabbitMQ URL')
  }
  if (url.search !== '' || url.hash !== '')
    throw badUrl('has parameters after "?" or "#", which are not supported')
  const tls = url.protocol === 'amqps:'
  const anonymous = url.username === '' && url.password === ''
  return {
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (tls ? 5671 : 5672) : Number(url.port),
    username: anonymous ? 'guest' : decode(url.username),
    password: anonymous ? 'guest' : decode(url.password),
    vhost: decode(url.pathname.slice(1)) || '/',
    tls,
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw badUrl('has a "%" that is not followed by two hexadecimal digits (write "%" itself as "%25")')
  }
}

function badUrl(fault: string): AppError {
  const form = 'It looks like amqp://user:password@host:5672/vhost, or amqps:// with TLS.'
  return new AppError('unavailable', `PACKSHOT_QUEUE_URL ${fault}. ${form}`, { param: 'PACKSHOT_QUEUE_URL' })
}
