import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../jobs/log.ts'
import { retry } from '../../jobs/retry.ts'
import { parseAddress } from './address.ts'
import { closeChannel, connect, type Link } from './connection.ts'
import { isPermanent, otherService, startFault } from './faults.ts'
import { answersOtherwise } from './probe.ts'
import { createPublisher, type Publish } from './publisher.ts'
import { type Topology, topology } from './topology.ts'

export interface BrokerOptions {
  /** `amqp://user:password@host:5672/vhost`, or `amqps://` with TLS. */
  readonly url: string
  /** Prefix of all queue and exchange names. */
  readonly namespace: string
  /** Maximum number of waiting tasks of each priority. It is a queue argument, so all processes need the same. */
  readonly queueMax: number
  /** Maximum number of webhooks that were not tried yet; an argument too. 10 000 if absent. */
  readonly webhooksMax?: number
  readonly log: Log
  /** Shown in the broker's lists of connections. */
  readonly name?: string
  /** How long a message may take to be confirmed. */
  readonly confirmMs?: number
  /** A connection that is silent for two heartbeats is dropped. */
  readonly heartbeatSeconds?: number
  /** How long startup tries to connect. */
  readonly startMs?: number
}

/** A connected broker with every queue declared. The two queues of this folder use it. */
export interface Broker {
  readonly log: Log
  readonly topology: Topology
  readonly queueMax: number
  /** Separate: a broker short of disk stops reading connections that publish, acknowledgements included. */
  readonly consuming: Link
  readonly publish: Publish
  /** Declares what is missing again, after a pause. Never rejects; one at a time. */
  redeclare(): Promise<void>
  /** Close the queues first. */
  close(): Promise<void>
}

/**
 * A queue that is recreated within 100 ms of its deletion keeps the consumers of the old one: it sends them messages
 * that never arrive (measured on 3.10.8). After this long they have been notified.
 */
const redeclareAfterMs = 500

/**
 * Resolves when connected, with the topology declared; tries for `startMs`. Rejects an `AppError` that names the
 * variable to change: `unavailable`. Afterwards losing the broker is never fatal: the connections are restored.
 */
export async function openBroker(options: BrokerOptions): Promise<Broker> {
  const { url, namespace, queueMax, log, name = 'packshot' } = options
  const { webhooksMax, confirmMs = 5000, heartbeatSeconds = 10, startMs = 30_000 } = options
  const address = parseAddress(url)
  if (await answersOtherwise(address)) throw otherService(address)
  const plan = topology(namespace, queueMax, webhooksMax)
  const shared = { address, heartbeatSeconds, log, giveUpAt: performance.now() + startMs }
  const consuming = await connect({
    ...shared,
    name: `${name} (consumes)`,
    whileLost: 'nothing is received, and tasks in progress here are redelivered',
  })
  let publishing: Link | undefined
  try {
    publishing = await connect({ ...shared, name: `${name} (publishes)`, whileLost: 'nothing is accepted' })
    await declareAtStart(consuming, plan, shared)
  } catch (thrown) {
    await Promise.all([consuming.close(), publishing?.close()])
    throw startFault(thrown, address)
  }

  let closed = false
  let declaring: Promise<void> | undefined
  const redeclare = () => {
    declaring ??= sleep(redeclareAfterMs)
      .then(() => (closed ? undefined : declare(consuming, plan)))
      .catch((thrown: unknown) => {
        const permanent = isPermanent(thrown)
        const err = permanent ? startFault(thrown, address) : thrown
        log[permanent ? 'error' : 'warn'](
          { err },
          'queues could not be declared; existing ones are used unchanged',
        )
      })
      .finally(() => {
        declaring = undefined
      })
    return declaring
  }
  // a broker may come back without its queues
  consuming.onReturn(() => void redeclare())
  const links = [consuming, publishing]
  return {
    log,
    topology: plan,
    queueMax,
    consuming,
    publish: createPublisher(publishing, confirmMs, () => void redeclare()),
    redeclare,
    async close() {
      closed = true
      await Promise.all(links.map((link) => link.close()))
    },
  }
}

/** A broker that just started may answer before its queues have a leader, so this retries. */
async function declareAtStart(link: Link, plan: Topology, { giveUpAt }: { giveUpAt: number }): Promise<void> {
  await retry(() => declare(link, plan), {
    firstMs: 200,
    longestMs: 1000,
    onFailure(thrown, { pauseMs }) {
      if (isPermanent(thrown) || performance.now() + pauseMs > giveUpAt) throw thrown
    },
  })
}

/** A queue that cannot be declared does not prevent the others; rejects with the first fault. */
async function declare(link: Link, plan: Topology): Promise<void> {
  const faults: unknown[] = []
  let channel = await link.open()
  try {
    for (const step of plan.steps) {
      try {
        await step(channel)
      } catch (thrown) {
        faults.push(thrown)
        if (!link.ready) break
        if (!channel.active) channel = await link.open()
      }
    }
  } finally {
    await closeChannel(channel)
  }
  if (faults.length > 0) throw faults[0]
}
