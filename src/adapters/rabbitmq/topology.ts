import type { Channel } from 'rabbitmq-client'
import { type Priority, priorities } from '../../jobs/fields.ts'

/**
 * What is declared in the broker. Correct for RabbitMQ 3.10 and 4.x; every queue is a durable quorum queue.
 *
 *   NS.tasks   new.CLASS ──────────> NS.tasks.CLASS.v1           accepted jobs, lane 0; bounded, a full one rejects
 *              new.CLASS.N ────────> NS.tasks.CLASS.laneN.v1     accepted jobs, the other lanes; the same
 *              returned.CLASS.# ───> NS.tasks.CLASS.returned.v1  returned or retried; taken before new ones
 *              dead.# ─────────────> NS.tasks.dead.v1            servers mark them failed, then they are parked
 *   NS.retry   #.BUCKET ───────────> NS.tasks.retry.BUCKET.v1    no consumer: what expires goes to NS.tasks
 *   NS.dlx     dead ───────────────> NS.tasks.dead.v1            what the broker itself gives up on
 *   NS.events  * ──────────────────> NS.events.status.v1         and NS.events.retry.v1, which expires into it
 *                                    NS.webhooks.v1              not tried yet; bounded, a full one rejects
 *                                    NS.webhooks.retry.BUCKET.v1 no consumer: expires into NS.webhooks.returned.v1
 *                                    NS.parked.v1                for a person to look at, seven days
 *
 * A message keeps its routing key when it expires, so one retry queue serves all classes. Only the head of a queue
 * expires: a short delay may wait behind a longer one of its bucket, never longer than the bucket.
 *
 * An accepted task is never blocked by a bound: returned and retry queues have none. A queue cannot change its
 * arguments, hence the version in the names: raise it with every change below.
 *
 * Callers take turns because each class has several lanes, and a worker takes from the lane that it took from longest
 * ago (turns.ts); the status store gives each caller a lane (`StatusStore.lane`). Servers and workers from before the
 * lanes know lane 0 alone, which has the name that the one queue of a class had. Another number of lanes needs workers
 * that know it before servers that use it.
 */

/** Of each class. A quorum queue costs 6 ms when it is made, 0.3 ms at each later start, 0.2 ms when a worker looks for a task, and 0.15 MB in the broker (measured on 3.10.8). */
export const lanes = 8

const allLanes = Array.from({ length: lanes }, (_, lane) => lane)

const bucketsMs = { '1s': 1000, '5s': 5000, '30s': 30_000, '2m': 120_000 } as const
/** Those of the schedule of webhooks, and what a receiver that is busy may ask for. */
const webhookBucketsMs = {
  '5s': 5000,
  '1m': 60_000,
  '5m': 300_000,
  '30m': 1_800_000,
  '2h': 7_200_000,
  '5h': 18_000_000,
  '10h': 36_000_000,
} as const
const longestEventPauseMs = 60_000
const parkedMs = 7 * 24 * 3_600_000
const parkedMax = 10_000

/** Where a message goes. */
export interface Route {
  readonly exchange: string
  readonly routingKey: string
  /** How long the message waits there before the broker forwards it, in ms. */
  readonly waitMs?: number
  /** The bound of the queue; without one a rejection is a broker fault. */
  readonly max?: number
  /** What is bounded, in words; absent: jobs. */
  readonly holds?: string
}

export interface TaskSource {
  readonly queue: string
  readonly priority: Priority
}

export interface Topology {
  /** In the order in which a worker looks at them. Those of one group are lanes, of which it chooses by turns. */
  readonly sources: readonly (readonly TaskSource[])[]
  readonly deadQueue: string
  readonly statusQueue: string
  readonly webhookQueues: { readonly fresh: string; readonly returned: string }
  /** Those whose messages are jobs that wait. */
  readonly waiting: readonly string[]
  /** Those of them that are of one class: its lanes, and what was returned. */
  waitingOf(priority: Priority): readonly string[]
  /** Those whose messages are webhooks on their way. */
  readonly webhooks: readonly string[]
  /** The lanes of a class. */
  lanesOf(priority: Priority): readonly string[]
  newTask(priority: Priority, lane: number): Route
  returned(priority: Priority, delayMs?: number): Route
  dead(delayMs?: number): Route
  parked(): Route
  event(status: string): Route
  eventAgain(delayMs: number): Route
  webhook(): Route
  webhookAgain(delayMs: number): Route
  /** In order: a queue's dead-letter target is declared before it. Each step is repeatable. */
  readonly steps: readonly ((channel: Channel) => Promise<unknown>)[]
}

export function topology(ns: string, queueMax: number, webhooksMax = 10_000): Topology {
  const exchanges = {
    tasks: `${ns}.tasks`,
    retry: `${ns}.retry`,
    dlx: `${ns}.dlx`,
    events: `${ns}.events`,
  }
  const laneQueue = (priority: Priority, lane: number) =>
    `${ns}.tasks.${priority}.${lane === 0 ? '' : `lane${lane}.`}v1`
  const laneKey = (priority: Priority, lane: number) => `new.${priority}${lane === 0 ? '' : `.${lane}`}`
  const lanesOf = (priority: Priority) => allLanes.map((lane) => laneQueue(priority, lane))
  const returnedQueue = (priority: Priority) => `${ns}.tasks.${priority}.returned.v1`
  const waitingOf = (priority: Priority) => [...lanesOf(priority), returnedQueue(priority)]
  const retryQueue = (bucket: string) => `${ns}.tasks.retry.${bucket}.v1`
  const deadQueue = `${ns}.tasks.dead.v1`
  const parkedQueue = `${ns}.parked.v1`
  const statusQueue = `${ns}.events.status.v1`
  const eventRetryQueue = `${ns}.events.retry.v1`
  const webhookQueues = { fresh: `${ns}.webhooks.v1`, returned: `${ns}.webhooks.returned.v1` }
  const webhookRetryQueue = (bucket: string) => `${ns}.webhooks.retry.${bucket}.v1`

  const later = (key: string, delayMs: number): Route => {
    const [name, waitMs] = bucketFor(bucketsMs, delayMs)
    return { exchange: exchanges.retry, routingKey: `${key}.${name}`, waitMs }
  }

  const queue = (name: string, args: Record<string, string | number>) => (channel: Channel) =>
    channel.queueDeclare({ queue: name, durable: true, arguments: { 'x-queue-type': 'quorum', ...args } })
  const exchange = (name: string, type: string) => (channel: Channel) =>
    channel.exchangeDeclare({ exchange: name, type, durable: true })
  const bind = (from: string, key: string, to: string) => (channel: Channel) =>
    channel.queueBind({ exchange: from, routingKey: key, queue: to })
  const lettersTo = (target: string, key?: string) => ({
    'x-dead-letter-exchange': target,
    ...(key === undefined ? {} : { 'x-dead-letter-routing-key': key }),
    // needs reject-publish on the queue that the message leaves; anything less may lose messages
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  })
  // a backstop behind our own count: RabbitMQ 4 defaults to 20, 3.10 to none
  const taskLimits = { 'x-delivery-limit': 10, ...lettersTo(exchanges.dlx, 'dead') }
  const serverLimits = { 'x-delivery-limit': 20, ...lettersTo('', parkedQueue) }

  return {
    sources: priorities.flatMap((priority) => [
      [{ queue: returnedQueue(priority), priority }],
      lanesOf(priority).map((queue) => ({ queue, priority })),
    ]),
    deadQueue,
    statusQueue,
    webhookQueues,
    waiting: [...priorities.flatMap(waitingOf), ...Object.keys(bucketsMs).map(retryQueue)],
    waitingOf,
    webhooks: [...Object.values(webhookQueues), ...Object.keys(webhookBucketsMs).map(webhookRetryQueue)],
    lanesOf,
    newTask: (priority, lane) => ({
      exchange: exchanges.tasks,
      routingKey: laneKey(priority, lane),
      max: queueMax,
    }),
    returned: (priority, delayMs = 0) =>
      delayMs > 0
        ? later(`returned.${priority}`, delayMs)
        : { exchange: exchanges.tasks, routingKey: `returned.${priority}` },
    dead: (delayMs = 0) =>
      delayMs > 0 ? later('dead', delayMs) : { exchange: exchanges.dlx, routingKey: 'dead' },
    parked: () => ({ exchange: '', routingKey: parkedQueue }),
    event: (status) => ({ exchange: exchanges.events, routingKey: status }),
    eventAgain: (delayMs) => ({
      exchange: '',
      routingKey: eventRetryQueue,
      waitMs: Math.ceil(Math.max(1, Math.min(delayMs, longestEventPauseMs))),
    }),
    webhook: () => ({ exchange: '', routingKey: webhookQueues.fresh, max: webhooksMax, holds: 'webhooks' }),
    webhookAgain(delayMs) {
      if (delayMs <= 0) return { exchange: '', routingKey: webhookQueues.returned }
      const [name, waitMs] = bucketFor(webhookBucketsMs, delayMs)
      return { exchange: '', routingKey: webhookRetryQueue(name), waitMs }
    },
    steps: [
      queue(parkedQueue, { 'x-message-ttl': parkedMs, 'x-max-length': parkedMax, 'x-overflow': 'drop-head' }),
      exchange(exchanges.dlx, 'direct'),
      exchange(exchanges.tasks, 'topic'),
      exchange(exchanges.retry, 'topic'),
      exchange(exchanges.events, 'topic'),
      queue(deadQueue, serverLimits),
      bind(exchanges.dlx, 'dead', deadQueue),
      bind(exchanges.tasks, 'dead.#', deadQueue),
      ...priorities.flatMap((priority) => [
        ...allLanes.flatMap((lane) => [
          queue(laneQueue(priority, lane), { 'x-max-length': queueMax, ...taskLimits }),
          bind(exchanges.tasks, laneKey(priority, lane), laneQueue(priority, lane)),
        ]),
        queue(returnedQueue(priority), taskLimits),
        bind(exchanges.tasks, `returned.${priority}.#`, returnedQueue(priority)),
      ]),
      ...Object.entries(bucketsMs).flatMap(([bucket, ms]) => [
        queue(retryQueue(bucket), { 'x-message-ttl': ms, ...lettersTo(exchanges.tasks) }),
        bind(exchanges.retry, `#.${bucket}`, retryQueue(bucket)),
      ]),
      queue(statusQueue, serverLimits),
      bind(exchanges.events, '*', statusQueue),
      queue(eventRetryQueue, { 'x-message-ttl': longestEventPauseMs, ...lettersTo('', statusQueue) }),
      queue(webhookQueues.fresh, { 'x-max-length': webhooksMax, ...serverLimits }),
      queue(webhookQueues.returned, serverLimits),
      ...Object.entries(webhookBucketsMs).map(([bucket, ms]) =>
        queue(webhookRetryQueue(bucket), { 'x-message-ttl': ms, ...lettersTo('', webhookQueues.returned) }),
      ),
    ],
  }
}

/** The bucket whose messages wait least but long enough, and how long this one waits in it. */
function bucketFor(
  buckets: Readonly<Record<string, number>>,
  delayMs: number,
): [name: string, waitMs: number] {
  const entries = Object.entries(buckets)
  const [name, ms] = entries.find(([, bucketMs]) => bucketMs >= delayMs) ?? entries.at(-1) ?? ['', 0]
  return [name, Math.ceil(Math.max(1, Math.min(delayMs, ms)))]
}
