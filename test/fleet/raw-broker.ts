import { type Channel, Connection } from 'rabbitmq-client'
import { topology } from '../../src/adapters/rabbitmq/topology.ts'
import { priorities } from '../../src/jobs/fields.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import type { Fleet } from './fleet.ts'

/**
 * A foreign client of the broker: publishes what others might, and reads what is there. `tasks.CLASS.v1` stands for all
 * lanes of a class: which one a server chose depends on whether Redis answered it in time.
 */
export interface RawBroker {
  /** Resolves when the broker has the message, in the queue of new interactive tasks. */
  put(body: string | Uint8Array, properties?: Properties): Promise<void>
  /** The same, as an event. */
  putEvent(body: string): Promise<void>
  /** Takes the next message of a queue (the part of its name after the namespace) and dies with it; answers its body, undefined if there is none. */
  takeAndDie(queue: string): Promise<unknown>
  /** Moves the next message of a queue to another place, as its time to live would; false if there is none. */
  move(queue: string, to: { exchange: string; routingKey: string }): Promise<boolean>
  /** Ready messages by queue, names without the namespace. */
  ready(): Promise<Record<string, number>>
}

interface Properties {
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly messageId?: string
  readonly headers?: Record<string, unknown>
}

/** `queueUrl` leads past the proxies. */
export function rawBroker(t: Cleanup, fleet: Fleet, queueUrl: string): RawBroker {
  const { namespace } = fleet
  const connection = new Connection(queueUrl)
  connection.on('error', () => {})
  let publishing: Channel | undefined
  lastFirst(t).after(async () => {
    // closing a connection waits for its channels
    await publishing?.close()
    await connection.close()
  })
  const confirming = async () => {
    if (publishing !== undefined) return publishing
    const channel = await connection.acquire()
    await channel.confirmSelect()
    publishing = channel
    return channel
  }
  const send = async (route: { exchange: string; routingKey: string }, body: Buffer, properties: object) => {
    const channel = await confirming()
    await channel.basicPublish({ ...route, mandatory: true, durable: true, ...properties }, body)
  }
  const laneZero = (priority: string) => `tasks.${priority}.v1`
  const queuesOf = (queue: string) => {
    const priority = priorities.find((each) => laneZero(each) === queue)
    return priority === undefined ? [`${namespace}.${queue}`] : topology(namespace, 1).lanesOf(priority)
  }
  return {
    put: (body, properties = {}) =>
      send(
        { exchange: `${namespace}.tasks`, routingKey: 'new.interactive' },
        Buffer.from(body as string),
        properties,
      ),
    putEvent: (body) =>
      send({ exchange: `${namespace}.events`, routingKey: 'succeeded' }, Buffer.from(body), {
        contentType: 'application/json',
      }),
    async takeAndDie(queue) {
      const channel = await connection.acquire()
      try {
        for (const each of queuesOf(queue)) {
          const message = await channel.basicGet({ queue: each, noAck: false })
          if (message !== undefined) return message.body
        }
        return undefined
      } finally {
        await channel.close()
      }
    },
    async move(queue, { exchange, routingKey }) {
      const channel = await connection.acquire()
      const message = await channel.basicGet({ queue: `${namespace}.${queue}`, noAck: false })
      if (message !== undefined) {
        const { contentType, messageId, headers } = message
        const body = Buffer.isBuffer(message.body) ? message.body : Buffer.from(JSON.stringify(message.body))
        await send({ exchange: `${namespace}.${exchange}`, routingKey }, body, {
          contentType,
          messageId,
          headers,
        })
        channel.basicAck({ deliveryTag: message.deliveryTag })
      }
      await channel.close()
      return message !== undefined
    },
    async ready() {
      const found = await messagesOf(queueUrl, namespace)
      const sums: Record<string, number> = {}
      for (const [queue, count] of Object.entries(found)) {
        const priority = priorities.find((each) => queuesOf(laneZero(each)).includes(queue))
        const name = priority === undefined ? queue.slice(namespace.length + 1) : laneZero(priority)
        sums[name] = (sums[name] ?? 0) + count
      }
      return sums
    },
  }
}
