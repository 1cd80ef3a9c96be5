import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel } from 'rabbitmq-client'
import { jitter } from '../../jobs/jitter.ts'
import type { Log } from '../../jobs/log.ts'
import type { Broker } from './broker.ts'
import { closeChannel } from './connection.ts'
import { isMissing } from './faults.ts'

const firstPauseMs = 100
const longestPauseMs = 5000
/** A channel that lasted this long was healthy: the next fault counts as a first one. */
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
    await pauseAfter(faults, signal)
  }
}

/** Retries until it succeeds; rejects only once the signal has aborted. */
export async function untilDone(
  log: Log,
  what: string,
  signal: AbortSignal,
  action: () => Promise<void>,
): Promise<void> {
  for (let faults = 1; ; faults += 1) {
    signal.throwIfAborted()
    try {
      return await action()
    } catch (err) {
      log.warn({ err }, `${what} failed; retrying`)
      await pauseAfter(faults, signal)
    }
  }
}

async function pauseAfter(faults: number, signal: AbortSignal): Promise<void> {
  const longest = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(10, faults))
  await sleep(firstPauseMs / 2 + jitter(longest), undefined, { signal }).catch(() => {})
}
