import type { Channel } from 'rabbitmq-client'
import { ConnectionLost } from '../../jobs/connection-lost.ts'
import type { Delivery } from '../../jobs/ports.ts'
import type { Broker } from './broker.ts'
import {
  attemptHeader,
  bytesOf,
  contentOf,
  countOf,
  lossesOf,
  type Received,
  reasonHeader,
} from './message.ts'
import type { Route, TaskSource } from './topology.ts'

/** A message that the broker keeps for us until it is acknowledged on the channel that delivered it. */
export interface Held {
  readonly channel: Channel
  readonly message: Received
  readonly source: TaskSource
}

export interface HeldDelivery extends Delivery {
  /** Whether one of the four endings succeeded. */
  ended(): boolean
  /** Stops watching the channel. */
  release(): void
}

/**
 * Every ending but `ack` is a confirmed publish followed by the acknowledgement: a crash between the two duplicates
 * the task and never drops it. Nothing is ever rejected back into its queue: that would count as a loss on some
 * versions of the broker, and loop forever on others. A lost delivery can no longer be ended: the calls do nothing.
 */
export function holdDelivery(broker: Broker, { channel, message, source }: Held): HeldDelivery {
  const lost = new AbortController()
  // before `close`, and only if the broker closed the channel: its consumer timeout does
  const onError = () => lost.abort(new Error('The broker took the task back.'))
  const onClose = () => lost.abort(new ConnectionLost())
  if (channel.active) channel.once('error', onError).once('close', onClose)
  else onClose()
  let ended = false

  const acknowledge = () => {
    if (!channel.active) return
    channel.basicAck({ deliveryTag: message.deliveryTag })
    ended = true
  }
  const move = async (route: Route, headers: Record<string, string | number>) => {
    if (!channel.active) return
    await broker.publish(route, { body: bytesOf(message), messageId: message.messageId, headers })
    acknowledge()
  }
  const attempt = countOf(message, attemptHeader, 1)
  const { topology } = broker
  return {
    message: contentOf(message),
    attempt,
    losses: lossesOf(message),
    lost: lost.signal,
    async ack() {
      acknowledge()
    },
    retry: (delayMs) => move(topology.returned(source.priority, delayMs), { [attemptHeader]: attempt + 1 }),
    giveBack: (delayMs = 0) =>
      move(topology.returned(source.priority, delayMs), { [attemptHeader]: attempt }),
    dead: (reason) => move(topology.dead(), { [attemptHeader]: attempt, [reasonHeader]: reason }),
    ended: () => ended,
    release: () => void channel.off('error', onError).off('close', onClose),
  }
}
