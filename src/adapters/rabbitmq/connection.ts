import { once } from 'node:events'
import { type Channel, Connection } from 'rabbitmq-client'
import type { Log } from '../../jobs/log.ts'
import { retry } from '../../jobs/retry.ts'
import type { Address } from './address.ts'
import { codeOf, isPermanent, startFault } from './faults.ts'
import { orAfter } from './time-limit.ts'

/** One connection to the broker, which reconnects automatically until it is closed. */
export interface Link {
  /** Connected, and the broker reads from it. */
  readonly ready: boolean
  /** Resolves once connected; rejects when the signal aborts. */
  up(signal: AbortSignal): Promise<void>
  /** Opens a channel. Rejects soon when there is no connection; hangs while the broker does not read. */
  open(): Promise<Channel>
  onReturn(listener: () => void): void
  onBlocked(listener: () => void): void
  /** Takes at most a few seconds, whatever the other side does. */
  close(): Promise<void>
}

export interface LinkOptions {
  readonly address: Address
  readonly name: string
  /** What does not work while the connection is lost, for the log. */
  readonly whileLost: string
  readonly heartbeatSeconds: number
  readonly log: Log
  /** On the clock of `performance.now()`: no attempt starts after it. */
  readonly giveUpAt: number
}

const closeMs = 3000
const longestPauseMs = 5000

/** Retries until connected, with a log line for each failure; rejects an `AppError` when it gives up. */
export async function connect(options: LinkOptions): Promise<Link> {
  const { address, log, giveUpAt } = options
  const connection = await retry(() => connectOnce(options), {
    firstMs: 100,
    longestMs: longestPauseMs,
    onFailure(fault, { failures, pauseMs }) {
      if (isPermanent(fault) || performance.now() + pauseMs > giveUpAt) throw startFault(fault, address)
      const fields = { host: address.hostname, port: address.port, code: codeOf(fault), tries: failures }
      log.warn(fields, 'RabbitMQ does not answer; retrying')
    },
  })
  return supervise(connection, options)
}

async function connectOnce(options: LinkOptions): Promise<Connection> {
  const connection = newConnection(options)
  const fault: unknown = await firstFault(connection)
  if (fault === undefined) return connection
  connection.unsafeDestroy()
  throw fault
}

function newConnection({ address, name, heartbeatSeconds, giveUpAt }: LinkOptions): Connection {
  const left = giveUpAt - performance.now()
  return new Connection({
    ...address,
    connectionName: name,
    heartbeat: heartbeatSeconds,
    connectionTimeout: Math.ceil(Math.max(1000, Math.min(10_000, left))),
    acquireTimeout: 2000,
    // small frames that follow each other, as an ack and a get do, would wait 40 ms for the broker's delayed TCP ack
    noDelay: true,
    // the pause is random, from 100 ms to twice, four times that, ...: clients do not reconnect in step
    retryLow: 100,
    retryHigh: longestPauseMs,
  })
}

async function firstFault(connection: Connection): Promise<unknown> {
  try {
    await once(connection, 'connection')
    return undefined
  } catch (thrown) {
    return thrown
  }
}

function supervise(connection: Connection, options: LinkOptions): Link {
  const { name, log, whileLost } = options
  const channels = new Set<Channel>()
  // the library emits one error for each loss, and none for the attempts that follow
  connection.on('error', (err: unknown) =>
    log.warn({ err, connection: name }, `the connection to RabbitMQ is lost; until it is back, ${whileLost}`),
  )
  connection.on('connection', () => log.info({ connection: name }, 'the connection to RabbitMQ is back'))
  connection.on('connection.blocked', (reason) =>
    log.error({ connection: name, reason }, 'RabbitMQ is short of disk or memory and accepts no messages'),
  )
  connection.on('connection.unblocked', () =>
    log.info({ connection: name }, 'RabbitMQ accepts messages again'),
  )
  return {
    get ready() {
      return connection.ready
    },
    async up(signal) {
      while (!connection.ready) await backOrBroken(connection, signal)
    },
    async open() {
      const channel = await connection.acquire({ emitErrorsFromChannel: true })
      // each task in hand listens, those too that are being returned while the broker is away
      channel.setMaxListeners(100)
      channel.on('error', (err: unknown) => log.warn({ err, connection: name }, 'RabbitMQ closed a channel'))
      channels.add(channel)
      channel.once('close', () => channels.delete(channel))
      return channel
    },
    onReturn: (listener) => void connection.on('connection', listener),
    onBlocked: (listener) => void connection.on('connection.blocked', listener),
    async close() {
      await Promise.all([...channels].map(closeChannel))
      await orAfter(closeMs, connection.close(), () => connection.unsafeDestroy())
    },
  }
}

function backOrBroken(connection: Connection, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      connection.off('connection', settle)
      connection.off('connection.unblocked', settle)
      signal.removeEventListener('abort', settle)
      if (signal.aborted) reject(signal.reason)
      else resolve()
    }
    connection.on('connection', settle)
    connection.on('connection.unblocked', settle)
    signal.addEventListener('abort', settle)
    if (signal.aborted) settle()
  })
}

/** Closes a channel once its writes are sent; gives up on a peer that does not answer. */
export async function closeChannel(channel: Channel): Promise<void> {
  await orAfter(closeMs, channel.close(), () => {})
}
