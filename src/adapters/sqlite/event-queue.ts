import { randomUUID } from 'node:crypto'
import { JobEvent } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import type { Consumer, EventQueue } from '../../jobs/ports.ts'
import { doubled } from '../../jobs/retry.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import { type Database, guard } from './database.ts'
import { startPolling } from './poll-loop.ts'

export interface EventQueueOptions {
  readonly log: Log
  /** How long a handler may take before the event goes to another consumer. */
  readonly leaseMs?: number
  readonly pollMs?: number
  /** The pause before an event is redelivered after its handler failed, doubled for each further failure. */
  readonly retryMs?: number
}

interface Row {
  readonly seq: number
  readonly message: string
  readonly failures: number
}

/** An event is a row, deleted when its handler succeeds. */
export function sqliteEventQueue(database: Database, options: EventQueueOptions): EventQueue {
  const { log, leaseMs = 60_000, pollMs = 500, retryMs = 1000 } = options
  const db = database.durable
  const insert = db.prepare('INSERT INTO events (message, due_at) VALUES (?, ?)')
  const waiting = db.prepare('SELECT 1 FROM events WHERE due_at <= ?1 AND lease_until <= ?1 LIMIT 1')
  const claim = db.prepare(`UPDATE events SET token = ?1, lease_until = ?2 + ?3
    WHERE seq = (SELECT seq FROM events WHERE due_at <= ?2 AND lease_until <= ?2 ORDER BY seq LIMIT 1)
    RETURNING seq, message, failures`)
  const remove = db.prepare('DELETE FROM events WHERE seq = ? AND token = ?')
  const later =
    db.prepare(`UPDATE events SET due_at = ?, failures = failures + 1, lease_until = 0, token = NULL
    WHERE seq = ? AND token = ?`)
  const consumers = new Set<Consumer>()

  const take = async (handler: (event: JobEvent) => Promise<void>) => {
    if (guard(() => waiting.get(Date.now())) === undefined) return false
    const token = randomUUID()
    // Not get(): it returns before the commit, and a full disk would go unnoticed.
    const [row] = guard(() => claim.all(token, Date.now(), leaseMs)) as unknown as Row[]
    if (row === undefined) return false
    try {
      await handler(parse(row.message))
      guard(() => remove.run(row.seq, token))
    } catch (err) {
      log.warn({ err, event: row.message }, 'an event could not be handled; it will be redelivered')
      const pause = doubled({ firstMs: retryMs, longestMs: retryMs * 2 ** 8 }, row.failures + 1)
      guard(() => later.run(Date.now() + pause, row.seq, token))
    }
    return true
  }

  return {
    async publish(event) {
      guard(() => insert.run(JSON.stringify(event), 0))
    },
    async consume(handler) {
      const consumer = startPolling(log, pollMs, () => take(handler))
      consumers.add(consumer)
      return consumer
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}

function parse(message: string): JobEvent {
  return fromJson(JobEvent, message)
}
