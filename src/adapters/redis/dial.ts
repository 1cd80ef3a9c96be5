import { createClient, ErrorReply } from '@redis/client'
import { certificateFault } from '../../jobs/certificates.ts'
import { type AppError, messageOf } from '../../jobs/errors.ts'
import { type Address, startFault } from './address.ts'

/** The reply to a command or script (RESP 2). */
export type Reply = string | number | null | readonly Reply[]

/** One connection, from the greeting to its end; it never reconnects. */
export interface Connection {
  /** Rejects when Redis replies with an error, and when the connection ends. It has no time limit. */
  send(args: readonly string[]): Promise<Reply>
  /** Resolves with the reason when the connection ends. */
  readonly ended: Promise<Error>
  /** Ends it now; commands in flight reject. */
  drop(reason: Error): void
}

const dialMs = 2000
const noAnswer = 'No answer within'

/**
 * Connects and verifies that Redis runs scripts and accepts writes; rejects otherwise.
 * Reconnecting is left to the caller: the client would stay forever on a server that became a read-only replica,
 * and waits forever on a half-open connection.
 */
export async function dial(address: Address): Promise<Connection> {
  const { host, port, tls, username, password, database } = address
  const client = createClient({
    RESP: 2,
    socket: {
      host,
      port,
      ...(tls ? { tls: true as const } : {}),
      connectTimeout: dialMs,
      keepAliveInitialDelay: 10_000,
      reconnectStrategy: false,
    },
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database,
    name: 'packshot',
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    // The client's own time limit ends when a command is written, so it does not limit the answer.
    commandOptions: { timeout: 0 },
  })
  const ended = Promise.withResolvers<Error>()
  // The client continues after an answer that is not Redis' protocol; commands would then wait forever.
  client.on('error', (error: Error) => drop(error))
  client.on('end', () => ended.resolve(new Error('The connection was closed.')))

  let dropped: Error | undefined
  function drop(reason: Error): void {
    dropped ??= reason
    ended.resolve(reason)
    client.destroy()
  }
  const send = (args: readonly string[]) => client.sendCommand<Reply>([...args])

  const late = new Error(`${noAnswer} ${dialMs} ms.`)
  const timer = setTimeout(() => drop(late), dialMs)
  const greeted = client.connect().then(() => greet(send))
  try {
    await Promise.race([greeted, ended.promise.then((reason) => Promise.reject(reason))])
  } catch (error) {
    client.destroy()
    // A connection established after giving up would stay open.
    greeted.then(
      () => client.destroy(),
      () => client.destroy(),
    )
    // what the client says of its own end may come first, and is not the cause
    throw dropped ?? error
  } finally {
    clearTimeout(timer)
  }
  return { send, ended: ended.promise, drop }
}

async function greet(send: Connection['send']): Promise<void> {
  await send(['EVAL', "return redis.call('TIME')[1]", '0'])
  try {
    // A replica, and a server whose disk is full, accept reads only. Deleting nothing shows it.
    await send(['DEL', 'packshot:greeting'])
  } catch (error) {
    // The account may be limited to the keys of the namespace.
    if (!/NOPERM/.test(messagesOf(error))) throw error
  }
}

/** Why a connection could not be made, as the sentence for startup; `final` if retrying cannot help. */
export function dialFault(address: Address, error: unknown): { message: string; final: boolean } {
  const text = scrubbed(address, messagesOf(error))
  const at = `Redis at ${address.name} (PACKSHOT_STATUS_URL)`
  const certificate = certificateFault(`Redis at ${address.name}`, 'PACKSHOT_STATUS_URL', codeIn(error))
  if (certificate !== undefined) return { message: certificate, final: true }
  if (/Unknown RESP type/.test(text)) {
    return { message: `The server at ${address.name} (PACKSHOT_STATUS_URL) is not Redis.`, final: true }
  }
  if (/\b(WRONGPASS|NOAUTH|invalid password|without any password)\b/.test(text)) {
    return { message: `${at} does not accept this user and password: ${text}`, final: true }
  }
  if (/\bREADONLY\b/.test(text)) {
    return { message: `${at} is a read-only replica; the primary is needed.`, final: false }
  }
  if (/\bLOADING\b/.test(text)) return { message: `${at} is still loading its data.`, final: false }
  if (text.startsWith(noAnswer)) return { message: `${at} does not answer: ${text}`, final: false }
  const waits = /\b(MASTERDOWN|CLUSTERDOWN|MISCONF|BUSY|TRYAGAIN|UNKILLABLE|max number of clients)\b/
  const final = error instanceof ErrorReply && !waits.test(text)
  return { message: `${at} gives unexpected answers: ${text}`, final }
}

/** The error that ends startup. */
export function faultOf(address: Address, error: unknown): AppError {
  const clean = messagesOf(error) === scrubbed(address, messagesOf(error))
  return startFault(dialFault(address, error).message, clean ? error : undefined)
}

function scrubbed({ password }: Address, text: string): string {
  return password === undefined ? text : text.replaceAll(password, '***')
}

function codeIn(error: unknown): string {
  if (error instanceof AggregateError) return codeIn(error.errors[0])
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** An error of several addresses of one host has no message of its own. */
function messagesOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messagesOf).join('; ')
  return messageOf(error)
}
