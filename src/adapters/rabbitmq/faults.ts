import { certificateFault } from '../../jobs/certificates.ts'
import { AppError } from '../../jobs/errors.ts'
import { priorities } from '../../jobs/fields.ts'
import type { Address } from './address.ts'
import { lanes } from './topology.ts'

/** The `code` of an error of the library ('NOT_FOUND'), of the broker or of the operating system ('ECONNREFUSED'). */
export function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
}

/** Whether something that we declared is missing. */
export function isMissing(thrown: unknown): boolean {
  return ['NOT_FOUND', 'CANCEL_FORCED'].includes(codeOf(thrown))
}

/** Whether a fault persists until a person changes something. */
export function isPermanent(thrown: unknown): boolean {
  const code = codeOf(thrown)
  const lasting = ['ACCESS_REFUSED', 'NOT_ALLOWED', 'PRECONDITION_FAILED', 'VERSION_MISMATCH'].includes(code)
  return lasting || certificateFault('', '', code) !== undefined
}

/** A startup fault, explained for the person who wrote the configuration. */
export function startFault(thrown: unknown, address: Address): AppError {
  if (thrown instanceof AppError) return thrown
  const text = thrown instanceof Error ? thrown.message : ''
  const { param, message } = explain(codeOf(thrown), text, address)
  return new AppError('unavailable', message, { param, cause: thrown })
}

export function otherService({ hostname, port }: Address): AppError {
  const message = `The server at ${hostname}:${port} is not RabbitMQ. PACKSHOT_QUEUE_URL needs RabbitMQ's AMQP port, usually 5672 (5671 with TLS), not the port of its management page.`
  return new AppError('unavailable', message, { param: 'PACKSHOT_QUEUE_URL' })
}

function explain(code: string, text: string, address: Address): { param: string; message: string } {
  const { hostname, port, username, vhost } = address
  const broker = `RabbitMQ at ${hostname}:${port}`
  const url = (message: string) => ({ param: 'PACKSHOT_QUEUE_URL', message })
  if (code === 'PRECONDITION_FAILED') return otherArguments(text)
  if (code === 'ACCESS_REFUSED' && /login was refused/i.test(text)) {
    const guest = username === 'guest' ? ' RabbitMQ admits the user guest only from its own machine.' : ''
    return url(
      `${broker} refuses the user and password of PACKSHOT_QUEUE_URL (user ${username}). Correct them.${guest}`,
    )
  }
  if (code === 'NOT_ALLOWED' && /not found/i.test(text)) {
    return url(
      `${broker} has no virtual host ${vhost}. Create it (rabbitmqctl add_vhost), or change the end of PACKSHOT_QUEUE_URL.`,
    )
  }
  if (code === 'ACCESS_REFUSED' || code === 'NOT_ALLOWED') {
    return url(
      `${broker} does not let the user ${username} create queues in the virtual host ${vhost}. Give it all three permissions there (rabbitmqctl set_permissions).`,
    )
  }
  const certificate = certificateFault(broker, 'PACKSHOT_QUEUE_URL', code)
  if (certificate !== undefined) return url(certificate)
  const why = code === '' ? '' : ` (${code})`
  return url(
    `${broker} does not answer${why}. Start it, or correct host and port in PACKSHOT_QUEUE_URL; amqps:// is for a port with TLS.`,
  )
}

/** The queues that have the same bound. */
function otherLanes(queue: string): string {
  const [ns] = /^.*(?=\.tasks\.)/.exec(queue) ?? [queue]
  return `${priorities.map((priority) => `${ns}.tasks.${priority}.v1`).join(', ')}, and their lane1 to lane${lanes - 1} (${ns}.tasks.batch.lane1.v1)`
}

function otherArguments(text: string): { param: string; message: string } {
  const [, argument, name] = /inequivalent arg '([^']+)' for (?:queue|exchange) '([^']+)'/.exec(text) ?? []
  if (argument === undefined || name === undefined) {
    const cause = text.replace(/^.*PRECONDITION_FAILED - /, '')
    const message = `RabbitMQ cannot create a queue that Packshot needs; version 3.10 or later is required. Its error: ${cause}`
    return { param: 'PACKSHOT_QUEUE_URL', message }
  }
  const remake = `let the workers empty it, delete it (rabbitmqctl delete_queue ${name}), and restart`
  if (argument === 'x-max-length') {
    const current = /current is (?:the value )?'?(\d+)'?/.exec(text)?.[1]
    const other = current === undefined ? 'a different length' : `a length of ${current}`
    return {
      param: 'PACKSHOT_QUEUE_MAX',
      message: `The queue ${name} exists with ${other}, which cannot be changed. Set PACKSHOT_QUEUE_MAX back, or ${remake}. The same holds for the other queues of new tasks: ${otherLanes(name)}.`,
    }
  }
  return {
    param: 'PACKSHOT_QUEUE_URL',
    message: `The queue ${name} exists with a different ${argument} than this version of Packshot needs. If nothing else uses it, ${remake}.`,
  }
}
