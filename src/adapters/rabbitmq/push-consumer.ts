import type { AsyncMessage, Channel } from 'rabbitmq-client'
import type { Consumer } from '../../jobs/ports.ts'
import type { Broker } from './broker.ts'
import { keepChannel } from './channel-loop.ts'

export interface Subscription {
  /** For the log. */
  readonly who: string
  readonly queue: string
  /** How many messages are handled at the same time. */
  readonly prefetch: number
  /**
   * The message is acknowledged when this resolves. It rejects only after the signal aborted (the channel is gone, or
   * the consumer stops): the broker then delivers the message again.
   */
  handle(message: AsyncMessage, signal: AbortSignal): Promise<void>
}

/** Has the broker push messages until it is stopped. */
export function startPushConsumer(broker: Broker, subscription: Subscription): Consumer {
  const stopping = new AbortController()
  const ended = keepChannel(broker, subscription.who, stopping.signal, (channel) =>
    subscribe(broker, channel, subscription, stopping.signal),
  )
  return {
    stop() {
      stopping.abort()
      return ended
    },
  }
}

async function subscribe(
  broker: Broker,
  channel: Channel,
  { queue, prefetch, who, handle }: Subscription,
  stopping: AbortSignal,
): Promise<void> {
  const lost = new AbortController()
  const over = AbortSignal.any([stopping, lost.signal])
  const ended = Promise.withResolvers<void>()
  // it may reject before it is awaited
  ended.promise.catch(() => {})
  channel.once('close', () => {
    lost.abort()
    ended.reject(new Error('The channel closed.'))
  })
  channel.on('basic.cancel', (_tag, err: unknown) => ended.reject(err))
  stopping.addEventListener('abort', () => ended.resolve(), { once: true })

  const inWork = new Set<Promise<void>>()
  const work = async (message: AsyncMessage) => {
    try {
      await handle(message, over)
      if (channel.active) channel.basicAck({ deliveryTag: message.deliveryTag })
    } catch (err) {
      broker.log.debug({ err, queue }, `${who} leaves a message to be redelivered`)
    }
  }
  await channel.basicQos({ prefetchCount: prefetch })
  const { consumerTag } = await channel.basicConsume({ queue }, (message) => {
    // left unacknowledged, it goes back to its queue when the channel closes
    if (over.aborted) return
    const working = work(message).finally(() => inWork.delete(working))
    inWork.add(working)
  })
  if (stopping.aborted) ended.resolve()
  try {
    await ended.promise
    await channel.basicCancel(consumerTag)
  } finally {
    await Promise.all(inWork)
  }
}
