import type { Delivery } from './ports.ts'

/** A delivery with something in another way, and all else its own. Its endings may be methods that need it. */
export function changedDelivery(delivery: Delivery, change: Partial<Delivery>): Delivery {
  return {
    message: delivery.message,
    attempt: delivery.attempt,
    losses: delivery.losses,
    lost: delivery.lost,
    ack: () => delivery.ack(),
    retry: (delayMs) => delivery.retry(delayMs),
    giveBack: (delayMs) => delivery.giveBack(delayMs),
    dead: (reason) => delivery.dead(reason),
    ...change,
  }
}
