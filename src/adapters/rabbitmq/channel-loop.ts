import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel } from 'rabbitmq-client'
import type { Log } from '../../jobs/log.ts'
import { pauseAfter, retry } from '../../jobs/retry.ts'
import type { Broker } from './broker.ts'
import { closeChannel } from './connection.ts'
import { isMissing } from './faults.ts'

const backoff = { firstMs: 100, longestMs: 5000 }
/** A channel that lasted this long was sound: its next fault counts as the first. */
const goodMs = 10_000

/**
 * Runs `use` on a channel, and again on a new one whenever it ends, until the signal aborts. The channel is
 * closed after each use. Resolves when the last use has ended; never rejects, and pauses before every further channel.
 */
export async function keepChannel(
  broker: Broker,
  who: string,
  signal: AbortSignal,
  use: (channel: Channel) => Promise<void>,
): Promise<void> {
  let faults = 0
  while (!signal.aborted) {
    let openedAt = Number.POSITIVE_INFINITY
    let channel: Channel | undefined
    try {
      await broker.consuming.up(signal)
      channel = await broker.consuming.open()
      openedAt = performance.now()
      await use(channel)
      faults = 0
    } catch (err) {
      if (signal.aborted) return
      broker.log.warn({ err }, `${who} lost its channel and opens a new one`)
      if (isMissing(err)) await broker.redeclare()
    } finally {
      if (channel !== undefined) await closeChannel(channel)
    }
    if (performance.now() - openedAt > goodMs) faults = 0
    faults += 1
    // rejects when it is to stop, which the loop looks at
    await sleep(pauseAfter(backoff, faults), undefined, { signal }).catch(() => {})
  }
}

/** Retries until it succeeds; rejects only once the signal has aborted. */
export async function untilDone(
  log: Log,
  what: string,
  signal: AbortSignal,
  action: () => Promise<void>,
): Promise<void> {
  const onFailure = (err: unknown) => log.warn({ err }, `${what} failed; retrying`)
  return retry(action, { ...backoff, signal, onFailure })
}
