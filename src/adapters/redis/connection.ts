import { setTimeout as pause } from 'node:timers/promises'
import { ErrorReply } from '@redis/client'
import { AppError } from '../../jobs/errors.ts'
import type { Log } from '../../jobs/log.ts'
import { pauseAfter, retry } from '../../jobs/retry.ts'
import { parseAddress } from './address.ts'
import { createBreaker } from './breaker.ts'
import { type Connection, dial, dialFault, faultOf, type Reply } from './dial.ts'
import { isForgotten, type Script, scriptCommand } from './script.ts'

export interface RedisOptions {
  /** `redis[s]://[user:password@]host[:port][/database]` */
  readonly url: string
  readonly log: Log
  /** How long one command may take; 200 by default. */
  readonly timeoutMs?: number
  /** How long to try at startup; 30 000 by default. */
  readonly startMs?: number
}

/**
 * A connection that reconnects automatically. Nothing waits for it: while Redis is unavailable every command rejects
 * at once, and one that Redis does not answer rejects after `timeoutMs`, always with an `AppError` of code
 * `unavailable`. Such a command may have been executed.
 */
export interface Redis {
  command(...args: string[]): Promise<Reply>
  /** Runs a script in one atomic step; sends its text only if Redis does not know it. */
  script(script: Script, keys: readonly string[], args: readonly string[]): Promise<Reply>
  /** When a command last failed, on the clock of `performance.now()`; minus infinity if none did. */
  faultAt(): number
  close(): Promise<void>
}

const backoff = { firstMs: 200, longestMs: 2000 }
const pingMs = 5000
/** A connection without any answer for this long is dropped: it may be half open. */
const silenceMs = 3000

/** Resolves when connected to a usable Redis; rejects `unavailable` with a sentence that names the fault. */
export async function openRedis(options: RedisOptions): Promise<Redis> {
  const { url, log, timeoutMs = 200, startMs = 30_000 } = options
  const address = parseAddress(url)
  const breaker = createBreaker()
  const closing = new AbortController()
  let connection: Connection | undefined = await firstConnection()
  let reason = new Error('The connection was closed.')
  /** Since when commands have been waiting without any answer. */
  let silentSince: number | undefined
  let faultAt = Number.NEGATIVE_INFINITY

  async function firstConnection(): Promise<Connection> {
    const giveUpAt = performance.now() + startMs
    return retry(() => dial(address), {
      ...backoff,
      onFailure(error, { failures, pauseMs }) {
        const { message, final } = dialFault(address, error)
        if (final || performance.now() + pauseMs > giveUpAt) throw faultOf(address, error)
        log.warn({ tries: failures }, `${message} Retrying.`)
      },
    })
  }

  async function keepConnected(first: Connection): Promise<void> {
    for (let current = first; ; ) {
      reason = await current.ended
      connection = undefined
      breaker.reset()
      silentSince = undefined
      if (closing.signal.aborted) return
      log.warn({ err: reason }, `The connection to Redis at ${address.name} was lost; continuing without it`)
      const next = await nextConnection()
      if (next === undefined) return
      log.info({}, `Redis at ${address.name} is back`)
      connection = current = next
    }
  }

  /** Undefined when closed. */
  async function nextConnection(): Promise<Connection | undefined> {
    const { signal } = closing
    const onFailure = (error: unknown, { failures }: { failures: number }) =>
      log.debug({ tries: failures }, dialFault(address, error).message)
    try {
      // all servers lose a Redis at the same moment: the first attempt waits, too
      await pause(pauseAfter(backoff, 1), undefined, { signal })
      const next = await retry(() => dial(address), { ...backoff, signal, onFailure })
      if (!signal.aborted) return next
      next.drop(reason)
    } catch (error) {
      if (!signal.aborted) throw error
    }
    return undefined
  }

  async function command(...args: string[]): Promise<Reply> {
    try {
      return await tryCommand(args)
    } catch (error) {
      if (!isForgotten(error)) faultAt = performance.now()
      throw error
    }
  }

  async function tryCommand(args: readonly string[]): Promise<Reply> {
    const used = connection
    if (used === undefined) throw unavailable('The status store is unavailable.', reason)
    if (!breaker.pass()) throw unavailable('The status store does not answer.', new Error('It timed out.'))
    silentSince ??= performance.now()
    const sent = used.send(args)
    const heard = () => {
      if (used === connection) silentSince = undefined
    }
    // An answer after the time limit still shows that the connection is alive; it is handled here.
    sent.then(heard, (error: unknown) => (error instanceof ErrorReply ? heard() : undefined))
    try {
      const reply = await limited(sent, timeoutMs)
      breaker.answered()
      return reply
    } catch (error) {
      if (error === timedOut) {
        breaker.timedOut()
        const silent = silentSince !== undefined && performance.now() - silentSince > silenceMs
        if (silent && used === connection) used.drop(new Error(`No answer for ${silenceMs} ms.`))
        throw unavailable('The status store does not answer.', new Error(`No answer in ${timeoutMs} ms.`))
      }
      if (!(error instanceof ErrorReply)) {
        breaker.reset()
        throw unavailable('The connection to the status store was lost.', error)
      }
      breaker.answered()
      // After a failover this is the old primary; the address may now resolve to the new one.
      if (/\b(READONLY|MASTERDOWN|LOADING)\b/.test(error.message)) used.drop(error)
      throw unavailable(
        /\bOOM\b/.test(error.message)
          ? 'The status store is full.'
          : 'The status store failed to execute a command.',
        error,
      )
    }
  }

  // a fault of the connection is logged where it is kept
  const pinger = setInterval(() => void command('PING').catch(() => {}), pingMs)
  pinger.unref()
  void keepConnected(connection)

  return {
    command,
    script: (script, keys, args) => scriptCommand(command, script, keys, args),
    faultAt: () => faultAt,
    async close() {
      clearInterval(pinger)
      closing.abort()
      connection?.drop(reason)
    },
  }
}

const timedOut = new Error('The time limit was exceeded.')

/**
 * Rejects with `timedOut` after `ms`. If this process itself was busy for that long, the answer may have arrived
 * unread: it is read first, and a command that was delayed with everything else gets its time again.
 */
function limited<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout
    const wait = () => {
      const due = performance.now() + ms
      timer = setTimeout(() => {
        if (performance.now() - due > ms / 2) wait()
        else setImmediate(reject, timedOut)
      }, ms)
    }
    wait()
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

function unavailable(message: string, cause: unknown): AppError {
  return new AppError('unavailable', message, { cause, retryAfterSeconds: 2 })
}
