import { AppError } from '../../jobs/errors.ts'
import { closeChannel, type Link } from './connection.ts'
import { orAfter } from './time-limit.ts'

/** How many messages of these queues nobody has. Rejects `unavailable`, with the broker's own error as its cause. */
export async function depthOf(link: Link, queues: readonly string[], limitMs: number): Promise<number> {
  const depths = await depthsOf(link, queues, limitMs)
  return depths.reduce((sum, depth) => sum + depth, 0)
}

/** The same of each, in their order. */
export async function depthsOf(link: Link, queues: readonly string[], limitMs: number): Promise<number[]> {
  const away = (cause?: unknown): never => {
    throw new AppError('unavailable', 'The message broker does not answer.', { cause })
  }
  if (!link.ready) return away()
  const count = async () => {
    const channel = await link.open()
    try {
      const depths: number[] = []
      for (const queue of queues) {
        depths.push((await channel.queueDeclare({ queue, passive: true })).messageCount)
      }
      return depths
    } finally {
      await closeChannel(channel)
    }
  }
  return orAfter(limitMs, count().catch(away), away)
}

/** Those who ask while it runs share the next run, which begins afterwards: no answer is older than its question. */
export function sharing<T>(action: () => Promise<T>): () => Promise<T> {
  let current: Promise<T> | undefined
  let next: Promise<T> | undefined
  const start = () => {
    next = undefined
    const run = action().finally(() => {
      if (current === run) current = undefined
    })
    current = run
    return run
  }
  return () => {
    if (current === undefined) return start()
    next ??= current.then(start, start)
    return next
  }
}
