import { randomUUID } from 'node:crypto'
import { AppError } from '../../jobs/errors.ts'
import { bestEffort, type Log } from '../../jobs/log.ts'
import type { Consumer, WebhookAgain, WebhookQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import { WebhookDelivery } from '../../jobs/webhook.ts'
import { type Database, guard } from './database.ts'
import { startPolling } from './poll-loop.ts'

export interface WebhookQueueOptions {
  /** Maximum number of deliveries that were not tried yet. */
  readonly max: number
  /** The consumer's name. A starting consumer frees what an earlier one of the same name left behind. */
  readonly owner: string
  readonly log: Log
  /** Longer than a handler takes. */
  readonly leaseMs?: number
  readonly pollMs?: number
  /** The pause before a delivery comes again after its handler failed, doubled for each further failure. */
  readonly retryMs?: number
}

interface Row {
  readonly seq: number
  readonly message: string
  readonly losses: number
}

type Handler = (delivery: WebhookDelivery) => Promise<WebhookAgain | undefined>

/**
 * A delivery is a row. Taking one writes a token and a lease; later writes name the token, so a consumer that lost its
 * lease changes nothing. A row that is due later than it waits was put there before the clock was set back.
 */
export function sqliteWebhookQueue(database: Database, options: WebhookQueueOptions): WebhookQueue {
  const { max, owner, log, leaseMs = 60_000, pollMs = 200, retryMs = 1000 } = options
  const db = database.durable
  const insert = db.prepare(`INSERT INTO webhooks (message, due_at, waits_ms) SELECT ?, 0, 0
    WHERE (SELECT count(*) FROM webhooks WHERE fresh = 1) < ?`)
  const isDue = '(due_at <= ?1 OR due_at > ?1 + waits_ms) AND lease_until <= ?1'
  const waiting = db.prepare(`SELECT 1 FROM webhooks WHERE ${isDue} LIMIT 1`)
  const claim =
    db.prepare(`UPDATE webhooks SET token = ?2, owner = ?3, lease_until = ?1 + ?4, losses = losses + 1
    WHERE seq = (SELECT seq FROM webhooks WHERE ${isDue} ORDER BY due_at, seq LIMIT 1)
    RETURNING seq, message, losses`)
  const count = db.prepare('SELECT count(*) AS n FROM webhooks')
  const free = db.prepare('UPDATE webhooks SET lease_until = 0, token = NULL WHERE owner = ?')
  const remove = db.prepare('DELETE FROM webhooks WHERE seq = ? AND token = ?')
  const later = db.prepare(`UPDATE webhooks SET message = ?, due_at = ?, waits_ms = ?, fresh = 0, losses = ?,
    lease_until = 0, token = NULL WHERE seq = ? AND token = ?`)
  const consumers = new Set<Consumer>()

  const putBack = (row: Row, token: string, message: string, delayMs: number, losses: number) => {
    const waits = Math.ceil(delayMs)
    guard(() => later.run(message, Date.now() + waits, waits, losses, row.seq, token))
  }
  const handle = async (row: Row, token: string, handler: Handler) => {
    const delivery = parse(row.message)
    if (delivery === undefined) {
      log.error({}, 'a webhook that cannot be read was dropped')
      return void guard(() => remove.run(row.seq, token))
    }
    try {
      const again = await handler(delivery)
      if (again === undefined) guard(() => remove.run(row.seq, token))
      else putBack(row, token, JSON.stringify(again.delivery), again.delayMs, 0)
    } catch (err) {
      log.warn({ err, event: delivery.id }, 'a webhook could not be handled; it comes again')
      const pause = doubled({ firstMs: retryMs, longestMs: retryMs * 2 ** 10 }, row.losses)
      putBack(row, token, row.message, pause, row.losses)
    }
  }
  const take = () => {
    // looking takes no write lock
    if (guard(() => waiting.get(Date.now())) === undefined) return undefined
    const token = randomUUID()
    // not get(): it returns before the commit, and a full disk would go unnoticed
    const [row] = guard(() => claim.all(Date.now(), token, owner, leaseMs)) as unknown as Row[]
    return row === undefined ? undefined : { row, token }
  }

  return {
    async publish(delivery) {
      if (guard(() => insert.run(JSON.stringify(delivery), max)).changes !== 0) return
      throw new AppError('queue_full', `${max} webhooks already wait for their first try.`)
    },
    async consume(handler, { concurrency }) {
      guard(() => free.run(owner))
      const inWork = new Set<Promise<unknown>>()
      const polling = startPolling(log, pollMs, async () => {
        if (inWork.size >= concurrency) await Promise.race(inWork)
        const taken = take()
        if (taken === undefined) return false
        const working = bestEffort(log, 'ending a webhook', handle(taken.row, taken.token, handler))
        inWork.add(working)
        void working.finally(() => inWork.delete(working))
        return true
      })
      const consumer = {
        async stop() {
          await polling.stop()
          await Promise.all(inWork)
        },
      }
      consumers.add(consumer)
      return consumer
    },
    async depth() {
      return Number(guard(() => count.get())?.n ?? 0)
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}

function parse(message: string): WebhookDelivery | undefined {
  try {
    return fromJson(WebhookDelivery, message)
  } catch {
    return undefined
  }
}
