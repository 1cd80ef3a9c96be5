import { setImmediate as turn } from 'node:timers/promises'
import type { Channel } from 'rabbitmq-client'
import { bestEffort } from '../../jobs/log.ts'
import type { Consumer, Delivery } from '../../jobs/ports.ts'
import { jitter } from '../../jobs/retry.ts'
import type { Broker } from './broker.ts'
import { keepChannel, untilDone } from './channel-loop.ts'
import { type Held, holdDelivery } from './delivery.ts'
import { createTurns, type Turns } from './turns.ts'

type Handler = (delivery: Delivery, more: () => void) => Promise<void>

/** Maximum pause before a task that its handler neither ended nor lost is redelivered. */
const leftPauseMs = 5000
/** After this long without a task it checks again on a new channel. */
const longestSleepMs = 60_000

/**
 * Takes one task at a time, and holds no other while it works unless its handler asks for one. It polls the queues for a message in the order of
 * its turns; only when all are empty does it subscribe to all of them, and it unsubscribes again with the first
 * message. So each class goes strictly before the next, and within a class callers take turns, which no broker before
 * 4.3 offers itself.
 */
export function startTaskConsumer(broker: Broker, handler: Handler): Consumer {
  const stopping = new AbortController()
  const turns = createTurns(broker.topology.sources)
  const handling = new Set<Promise<void>>()
  const ended = keepChannel(broker, 'the task consumer', stopping.signal, (channel) =>
    work(broker, channel, turns, handler, handling, stopping.signal),
  )
  return {
    async stop() {
      stopping.abort()
      await ended
      // of a channel that broke
      await Promise.all(handling)
    },
  }
}

async function work(
  broker: Broker,
  channel: Channel,
  turns: Turns,
  handler: Handler,
  handling: Set<Promise<void>>,
  stopping: AbortSignal,
): Promise<void> {
  await channel.basicQos({ prefetchCount: 1 })
  // more than one only if several arrived at once and could not be returned
  let held: Held[] = []
  while (!stopping.aborted) {
    if (held.length === 0) held = await take(channel, turns)
    if (held.length === 0) held = await sleepUntilWoken(channel, turns, stopping)
    // a message that the broker believes to be here, and is not, is released with the channel; so are those in work
    if (held.length === 0 && handling.size > 0) continue
    if (held.length === 0) return
    held = [...held.slice(0, 1), ...(await giveBackAll(broker, held.slice(1)))]
    const next = stopping.aborted ? undefined : held.shift()
    if (next === undefined) continue
    turns.served(next.source)
    const more = Promise.withResolvers<void>()
    const handled = handle(broker, next, handler, more.resolve, stopping).finally(() =>
      handling.delete(handled),
    )
    handling.add(handled)
    await Promise.race([handled, more.promise])
  }
  // what cannot be returned now goes back to the broker when the channel closes
  await giveBackAll(broker, held)
  await Promise.all(handling)
}

/** A `get` is written to the log of its queue even if there is no message, a count is not. */
async function take(channel: Channel, turns: Turns): Promise<Held[]> {
  for (const source of turns.order()) {
    const { queue } = source
    const { messageCount } = await channel.queueDeclare({ queue, passive: true })
    const message = messageCount === 0 ? undefined : await channel.basicGet({ queue, noAck: false })
    if (message !== undefined) return [{ channel, message, source }]
  }
  return []
}

/** At most one message of each queue, the next one first; none when it is to stop, or slept long enough. */
async function sleepUntilWoken(channel: Channel, turns: Turns, stopping: AbortSignal): Promise<Held[]> {
  const sources = turns.order()
  const arrived: Held[] = []
  const woken = Promise.withResolvers<void>()
  // it may reject before it is awaited
  woken.promise.catch(() => {})
  const wake = () => woken.resolve()
  const onClose = () => woken.reject(new Error('The channel closed while the consumer waited.'))
  const onCancel = (_tag: string, err: unknown) => woken.reject(err)
  const alarm = setTimeout(wake, longestSleepMs)
  stopping.addEventListener('abort', wake)
  channel.on('close', onClose)
  channel.on('basic.cancel', onCancel)
  try {
    const tags: string[] = []
    for (const source of sources) {
      const { consumerTag } = await channel.basicConsume({ queue: source.queue }, (message) => {
        arrived.push({ channel, message, source })
        woken.resolve()
      })
      tags.push(consumerTag)
    }
    if (stopping.aborted) woken.resolve()
    await woken.promise
    for (const tag of tags) await channel.basicCancel(tag)
    // the library delivers a message one turn after it arrived
    await turn()
  } finally {
    clearTimeout(alarm)
    stopping.removeEventListener('abort', wake)
    channel.off('close', onClose)
    channel.off('basic.cancel', onCancel)
  }
  return arrived.toSorted((a, b) => sources.indexOf(a.source) - sources.indexOf(b.source))
}

/** Returns those that could not be returned to the queue. */
async function giveBackAll(broker: Broker, held: readonly Held[]): Promise<Held[]> {
  const kept: Held[] = []
  for (const each of held) {
    const delivery = holdDelivery(broker, each)
    await bestEffort(broker.log, 'returning a task that arrived with another', delivery.giveBack())
    if (!delivery.ended() && !delivery.lost.aborted) kept.push(each)
    delivery.release()
  }
  return kept
}

/** Never rejects. */
async function handle(
  broker: Broker,
  held: Held,
  handler: Handler,
  more: () => void,
  stopping: AbortSignal,
): Promise<void> {
  const { log } = broker
  const delivery = holdDelivery(broker, held)
  try {
    await handler(delivery, more)
    if (!delivery.ended() && !delivery.lost.aborted)
      log.warn({}, 'a task was not completed; it is returned to the queue')
  } catch (err) {
    log.error({ err }, 'a task handler failed; the task is returned to the queue')
  }
  // taking another one would leave this one unacknowledged for as long as the channel lives
  const over = AbortSignal.any([stopping, delivery.lost])
  const giveBack = () => delivery.giveBack(jitter(leftPauseMs))
  // it logs each failure, and rejects when the connection that has the task ends
  if (!delivery.ended()) await untilDone(log, 'returning a task', over, giveBack).catch(() => {})
  // a stop ends a pause between two tries; what goes back with the channel would count as lost
  if (!delivery.ended()) await bestEffort(log, 'returning a task before the end', giveBack())
  delivery.release()
}
