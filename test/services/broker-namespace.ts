import { type Channel, Connection } from 'rabbitmq-client'
import { topology } from '../../src/adapters/rabbitmq/topology.ts'

/** What one namespace has in a broker, for tests that look at it and clean it up. */

/** Deletes every queue and exchange of the namespace. */
export async function removeNamespace(url: string, namespace: string): Promise<void> {
  await withChannel(url, async (channel) => {
    const undo = {
      queueDeclare: ({ queue }: { queue: string }) => channel.queueDelete({ queue }),
      exchangeDeclare: ({ exchange }: { exchange: string }) => channel.exchangeDelete({ exchange }),
      queueBind: async () => {},
    }
    for (const step of topology(namespace, 1).steps.toReversed()) await step(undo as unknown as Channel)
  })
}

/** How many messages are ready in each non-empty queue of the namespace. Unacknowledged ones do not count. */
export async function messagesOf(url: string, namespace: string): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  await withChannel(url, async (channel) => {
    const look = {
      queueDeclare: async ({ queue }: { queue: string }) => {
        const { messageCount } = await channel.queueDeclare({ queue, passive: true })
        if (messageCount > 0) found[queue] = messageCount
      },
      exchangeDeclare: async () => {},
      queueBind: async () => {},
    }
    for (const step of topology(namespace, 1).steps) await step(look as unknown as Channel)
  })
  return found
}

async function withChannel(url: string, action: (channel: Channel) => Promise<void>): Promise<void> {
  const connection = new Connection(url)
  connection.on('error', () => {})
  try {
    const channel = await connection.acquire()
    await action(channel)
    await channel.close()
  } finally {
    await connection.close()
  }
}
