import { randomUUID } from 'node:crypto'
import { AppError } from '../../jobs/errors.ts'
import { type Priority, priorities } from '../../jobs/fields.ts'
import type { Task } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import type { Consumer, Delivery, TaskQueue } from '../../jobs/ports.ts'
import { unitsOf } from '../../jobs/work.ts'
import { type Database, guard } from './database.ts'
import { startPolling } from './poll-loop.ts'
import { turnOf } from './turns.ts'

export interface TaskQueueOptions {
  /** Maximum number of waiting and running tasks. */
  readonly max: number
  /** The consumer's name. A starting consumer frees what an earlier one of the same name left behind. */
  readonly owner: string
  readonly log: Log
  readonly leaseMs?: number
  readonly pollMs?: number
}

/** A task due later than this was delayed before the clock was set back. */
const longestDelayMs = 600_000

/** @param held tokens of leases, as a JSON array */
const isFree = (now: string, held: string) =>
  `(due_at <= ${now} OR due_at > ${now} + ${longestDelayMs}) AND lease_until <= ${now}
    AND (token IS NULL OR token NOT IN (SELECT value FROM json_each(${held})))`

interface Row {
  readonly seq: number
  readonly message: string
  readonly attempts: number
  readonly losses: number
}

/**
 * A task is a row; callers take turns (see turns.ts). Taking one writes a token and a lease and counts a loss, in one statement; ending the delivery
 * takes the loss back, so a process that dies has already counted its own.
 * The lease is renewed every third of its time; every later write names the token, so a consumer that lost its
 * lease changes nothing. Leases use the clock of the one machine that has the file: if it jumps ahead a task can
 * at worst run twice, which the manifest makes harmless, and if it is set back a task waits at most minutes longer.
 */
export function sqliteTaskQueue(database: Database, options: TaskQueueOptions): TaskQueue {
  const { max, owner, log, leaseMs = 30_000, pollMs = 100 } = options
  const db = database.durable
  const insert = db.prepare(`INSERT INTO tasks (id, message, due_at, priority, sent, account, units, turn)
    SELECT ?1, ?2, ?3, ?5, ?6, ?7, ?8, ${turnOf('tasks', 'TRUE', '?7', '?5')}
    WHERE (SELECT count(*) FROM tasks) < ?4 ON CONFLICT (id) DO NOTHING`)
  const find = db.prepare('SELECT sent FROM tasks WHERE id = ?')
  const count = db.prepare('SELECT count(*) AS n FROM tasks')
  const counts = db.prepare('SELECT priority, count(*) AS n FROM tasks GROUP BY priority')
  const free = db.prepare('UPDATE tasks SET lease_until = 0, token = NULL WHERE owner = ?')
  const claim =
    db.prepare(`UPDATE tasks SET owner = ?1, token = ?2, lease_until = ?3 + ?4, losses = losses + 1
    WHERE seq = (SELECT seq FROM tasks WHERE ${isFree('?3', '?5')} ORDER BY priority, turn, seq LIMIT 1)
    RETURNING seq, message, attempts, losses`)
  const waiting = db.prepare(`SELECT 1 FROM tasks WHERE ${isFree('?1', '?2')} LIMIT 1`)
  const remove = db.prepare('DELETE FROM tasks WHERE id = ? AND lease_until <= ?')
  const consumers = new Set<Consumer>()

  /** By the token of its lease. */
  const handling = new Map<string, Promise<void>>()

  /** Until its handler ends, or asks for the next one. */
  const take = async (handler: Parameters<TaskQueue['consume']>[0]) => {
    // a clock that jumped ahead ends no lease of what is handled here
    const held = JSON.stringify([...handling.keys()])
    // Looking takes no write lock, so an idle consumer does not block a publish.
    if (guard(() => waiting.get(Date.now(), held)) === undefined) return false
    const token = randomUUID()
    // Not get(): it returns before the commit, and a full disk would go unnoticed.
    const [row] = guard(() => claim.all(owner, token, Date.now(), leaseMs, held)) as unknown as Row[]
    if (row === undefined) return false
    const lease = holdLease(database, log, row, token, leaseMs)
    const more = Promise.withResolvers<void>()
    const handled = handler(lease.delivery, more.resolve).finally(() => {
      lease.end()
      handling.delete(token)
    })
    handling.set(token, handled)
    await Promise.race([handled, more.promise])
    return true
  }

  return {
    lanes: 1,
    async publish(task: Task) {
      const rank = priorities.indexOf(task.priority ?? 'interactive')
      const { id, sent = null, account = '' } = task
      const values = [id, JSON.stringify(task), 0, max, rank, sent, account, unitsOf(task)]
      if (guard(() => insert.run(...values)).changes !== 0) return
      const standing = guard(() => find.get(id))
      if (standing !== undefined) {
        if (standing.sent === sent) return
        throw new AppError('idempotency_key_reused', 'The queue has another request under this id.')
      }
      throw new AppError('queue_full', `${max} jobs are already waiting, the maximum for this installation.`)
    },
    async consume(handler) {
      guard(() => free.run(owner))
      const polling = startPolling(log, pollMs, () => take(handler))
      const consumer: Consumer = {
        async stop() {
          await polling.stop()
          await Promise.all(handling.values())
        },
      }
      consumers.add(consumer)
      return consumer
    },
    async depth() {
      return guard(() => count.get() as { n: number }).n
    },
    async depths() {
      const rows = guard(() => counts.all())
      const of = (priority: Priority) =>
        Number(rows.find((each) => each.priority === priorities.indexOf(priority))?.n ?? 0)
      return { interactive: of('interactive'), batch: of('batch') }
    },
    /** This queue never gives up: a task that no worker takes stays in it, and `dead` parks in a table. */
    async consumeDead() {
      return { stop: async () => {} }
    },
    withdraws: true,
    async withdraw(id) {
      return guard(() => remove.run(id, Date.now())).changes !== 0
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}

/** A claimed row as a delivery, kept alive until `end`. */
function holdLease(database: Database, log: Log, row: Row, token: string, leaseMs: number) {
  const db = database.durable
  const lost = new AbortController()
  const change = (sql: string, ...values: (string | number)[]) => {
    const { changes } = guard(() => db.prepare(sql).run(...values, row.seq, token))
    if (changes === 0) lost.abort(new Error('The lease of the task was lost.'))
  }
  const renew = () => {
    try {
      change('UPDATE tasks SET lease_until = ? WHERE seq = ? AND token = ?', Date.now() + leaseMs)
    } catch (err) {
      log.warn({ err }, 'renewing a lease failed; retrying')
    }
  }
  const timer = setInterval(renew, leaseMs / 3)
  const freed = 'lease_until = 0, token = NULL'
  const delivery: Delivery = {
    message: parse(row.message),
    attempt: row.attempts + 1,
    losses: row.losses - 1,
    lost: lost.signal,
    async ack() {
      change('DELETE FROM tasks WHERE seq = ? AND token = ?')
    },
    async retry(delayMs) {
      const sql = `UPDATE tasks SET due_at = ?, attempts = attempts + 1, losses = 0, ${freed} WHERE seq = ? AND token = ?`
      change(sql, dueAfter(delayMs))
    },
    async giveBack(delayMs = 0) {
      const sql = `UPDATE tasks SET due_at = ?, losses = losses - 1, ${freed} WHERE seq = ? AND token = ?`
      change(sql, dueAfter(delayMs))
    },
    async dead(reason) {
      db.exec('BEGIN IMMEDIATE')
      try {
        const copy = `INSERT INTO dead_tasks (id, message, reason, died_at)
          SELECT id, message, ?, ? FROM tasks WHERE seq = ? AND token = ?`
        change(copy, reason, Date.now())
        change('DELETE FROM tasks WHERE seq = ? AND token = ?')
        db.exec('COMMIT')
      } catch (thrown) {
        db.exec('ROLLBACK')
        throw thrown
      }
    },
  }
  return { delivery, end: () => clearInterval(timer) }
}

function dueAfter(delayMs: number): number {
  return Date.now() + Math.ceil(Math.min(delayMs, longestDelayMs))
}

/** A damaged message is passed on unchanged: the worker handles messages that are not tasks. */
function parse(message: string): unknown {
  try {
    return JSON.parse(message)
  } catch {
    return message
  }
}
