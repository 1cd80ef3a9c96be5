import { changedDelivery } from '../../jobs/changed-delivery.ts'
import { toAppError } from '../../jobs/errors.ts'
import { type Metrics, noMetrics } from '../../jobs/metrics.ts'
import type { Backends } from '../backends.ts'

/** The backends of a process, measured: the one place where calls of the three services are timed and counted. */

/** When a service last answered, or did not. */
interface Pulse {
  /** On the clock of `performance.now()`. */
  readonly at: number
  readonly up: boolean
}

export interface Pulses {
  queue: Pulse | undefined
  status: Pulse | undefined
  storage: Pulse | undefined
}

export interface Measured<Opened extends Backends = Backends> {
  readonly backends: Opened
  readonly pulses: Pulses
}

type Outcome = 'ok' | 'unavailable' | 'error'
/** The labels of a call: one object for all that end so. */
interface Labels {
  readonly op: string
  readonly outcome: Outcome
}
/** @param began on the clock of `performance.now()` */
type Ended = (labels: Labels, began: number) => void

/**
 * @param parksHere whether a task that a worker ends with `dead` is counted by it: a broker passes it on to the servers,
 * which count it when it is parked
 */
export function measuredBackends<Opened extends Backends>(
  backends: Opened,
  metrics: Metrics,
  parksHere: boolean,
): Measured<Opened> {
  const pulses: Pulses = { queue: undefined, status: undefined, storage: undefined }
  if (metrics === noMetrics) return { backends, pulses }
  /** Answers the seconds since `began`. */
  const pulse = (name: keyof Pulses, outcome: Outcome, began: number) => {
    const at = performance.now()
    pulses[name] = { at, up: outcome !== 'unavailable' }
    return (at - began) / 1000
  }
  let working = 0
  const busy = (change: 1 | -1) => {
    working += change
    metrics.workerBusy.set({}, Math.min(working, 1))
  }
  const ofQueue: Ended = ({ outcome }, began) => void pulse('queue', outcome, began)
  const queue = timed(backends.queue, ofQueue)
  const images = timed(backends.images, (labels, began) => {
    metrics.storageDuration.observe(labels, pulse('storage', labels.outcome, began))
  })
  return {
    pulses,
    backends: {
      ...backends,
      queue: {
        ...queue,
        consume: (handler) =>
          queue.consume(async (delivery, more) => {
            busy(1)
            try {
              await handler(
                parksHere
                  ? changedDelivery(delivery, {
                      async dead(reason) {
                        await delivery.dead(reason)
                        metrics.deadLetters.add({})
                      },
                    })
                  : delivery,
                more,
              )
            } finally {
              busy(-1)
            }
          }),
        consumeDead: (handler) =>
          queue.consumeDead(async (dead) => {
            await handler(dead)
            metrics.deadLetters.add({})
          }),
      },
      events: timed(backends.events, ofQueue),
      webhookQueue: timed(backends.webhookQueue, ofQueue),
      status: timed(backends.status, (labels, began) => {
        metrics.statusDuration.observe(labels, pulse('status', labels.outcome, began))
      }),
      images: {
        ...images,
        async sweep(now) {
          const removed = await images.sweep(now)
          metrics.expiredResults.add({}, removed)
          return removed
        },
      },
    },
  }
}

/** Local, and no calls of a service. */
const notCalls: readonly string[] = ['close', 'consume', 'consumeDead', 'doubtful']

/** The same port; `ended` is told of each call that returned a promise when that is settled. */
function timed<Port extends object>(port: Port, ended: Ended): Port {
  const wrapped = Object.entries(port).map(([op, method]) => {
    if (typeof method !== 'function' || notCalls.includes(op)) return [op, method]
    const [ok, unavailable, error] = (['ok', 'unavailable', 'error'] as const).map((outcome) => ({
      op,
      outcome,
    })) as [Labels, Labels, Labels]
    return [
      op,
      (...args: unknown[]) => {
        const began = performance.now()
        const result: unknown = method.apply(port, args)
        if (!(result instanceof Promise)) return result
        result.then(
          () => ended(ok, began),
          (thrown) => ended(toAppError(thrown).code === 'unavailable' ? unavailable : error, began),
        )
        return result
      },
    ]
  })
  return Object.fromEntries(wrapped) as Port
}
