import type { SQLOutputValue } from 'node:sqlite'
import { type Priority, priorities } from '../../jobs/fields.ts'
import {
  JobError,
  type JobState,
  type JobStatus,
  Kept,
  keptOf,
  ResolvedRequest,
  statusRank,
  type Task,
} from '../../jobs/job.ts'
import type { Held, StateUpdate, StatusStore } from '../../jobs/ports.ts'
import { cancelKeptMs, keptAfterExpiryMs, workerSilenceMs } from '../../jobs/status-times.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import { exceeds, unitsOf } from '../../jobs/work.ts'
import { type Database, guard } from './database.ts'
import { sqliteShelves, sweepShelves } from './shelves.ts'
import { turnOf } from './turns.ts'

/** States are rows; that a rank only rises is a condition in the one statement that writes it. */
export function sqliteStatusStore(database: Database): StatusStore {
  /** Only one server uses a database folder, so turns need no table. When each ends, by name. */
  const turns = new Map<string, number>()
  /** Jobs that are being published: they are counted, and have no row yet. */
  const reserved = new Map<string, { readonly account: string; readonly units: number }>()
  const db = database.relaxed
  const insert =
    db.prepare(`INSERT INTO states (id, status, rank, request, units, created_at, expires_at, priority, kept, account, turn)
    VALUES (?1, 'queued', 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ${turnOf('states', 'rank < 2', '?8', '?6')})
    ON CONFLICT (id) DO NOTHING`)
  const select = db.prepare(`SELECT states.*, cancels.id IS NOT NULL AS cancel_requested
    FROM states LEFT JOIN cancels USING (id) WHERE id = ?`)
  const update = db.prepare(`UPDATE states SET status = ?2, rank = ?3, step = coalesce(?4, step),
    steps = coalesce(?5, steps), started_at = coalesce(?6, started_at), error = coalesce(?7, error), preview = coalesce(?8, preview)
    WHERE id = ?1 AND (rank < ?3 OR (rank = ${statusRank.running} AND status = ?2))`)
  const mark = db.prepare('INSERT INTO cancels (id, marked_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING')
  const place = db.prepare('SELECT seq, priority, turn FROM states WHERE id = ? AND rank = 0')
  const ahead = db.prepare(`SELECT count(*) AS jobs,
    total(units * (1 - coalesce(CAST(step AS REAL) / max(steps, 1), 0))) AS units
    FROM states WHERE rank < 2 AND (rank = 1 OR priority < ?1 OR (priority = ?1 AND (turn, seq) < (?2, ?3)))`)
  const heldBy = db.prepare(`SELECT id, units FROM states
    WHERE account = ? AND rank < 2 AND expires_at > ?`)
  const open = db.prepare(`SELECT states.*, cancels.id IS NOT NULL AS cancel_requested
    FROM states LEFT JOIN cancels USING (id) WHERE rank < 2 AND expires_at > ?
    ORDER BY rank DESC, priority, turn, seq LIMIT ?`)
  const beat = db.prepare(`INSERT INTO workers (name, seen_at, seconds_per_unit) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at,
    seconds_per_unit = coalesce(excluded.seconds_per_unit, seconds_per_unit)`)
  const alive = db.prepare('SELECT count(*) AS workers FROM workers WHERE seen_at > ?')
  const speed = db.prepare('SELECT seconds_per_unit AS speed FROM workers ORDER BY seen_at DESC LIMIT 8')

  const left =
    db.prepare(`SELECT priority, count(*) AS jobs, count(*) FILTER (WHERE rank = 1) AS running, min(created_at) FILTER (WHERE rank = 0) AS oldest,
    total(units * (1 - coalesce(CAST(step AS REAL) / max(steps, 1), 0))) AS units
    FROM states WHERE rank < 2 AND expires_at > ? GROUP BY priority`)

  const listed = db.prepare(`SELECT states.*, 0 AS cancel_requested FROM states
    WHERE account = ?1 AND expires_at > ?2 AND (created_at, id) < (?3, ?4)
    AND status IN (SELECT value FROM json_each(?5)) ORDER BY created_at DESC, id DESC LIMIT ?6`)
  const write = db.prepare(`INSERT INTO notes (name, text, until) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET text = excluded.text, until = excluded.until`)
  const read = db.prepare('SELECT text FROM notes WHERE name = ? AND until > ?')

  return {
    async create(task: Task) {
      const { id, request, created_at, expires_at, account = '' } = task
      const rank = priorities.indexOf(task.priority ?? 'interactive')
      const first = [id, JSON.stringify(request), unitsOf(task), created_at, expires_at] as const
      reserved.delete(id)
      return guard(() => {
        insert.run(...first, rank, JSON.stringify(keptOf(task)), account)
        return toState(select.get(id) as Record<string, SQLOutputValue>)
      })
    },
    async reserve({ id, account, units }, most) {
      const jobs = new Map(guard(() => heldBy.all(account, new Date().toISOString())).map(unitsOfRow))
      for (const [other, each] of reserved) if (each.account === account) jobs.set(other, each.units)
      jobs.delete(id)
      const held: Held = { jobs: jobs.size, units: [...jobs.values()].reduce((sum, each) => sum + each, 0) }
      if (exceeds(held, units, most)) return held
      reserved.set(id, { account, units })
      return undefined
    },
    async release({ id }) {
      reserved.delete(id)
    },
    /** The embedded queue needs none: its callers take turns. */
    async lane() {
      return undefined
    },
    async get(id) {
      const row = guard(() => select.get(id))
      return row === undefined ? undefined : toState(row)
    },
    async advance(id, { status, progress, preview, started_at, error }: StateUpdate) {
      const reason = error === undefined ? null : JSON.stringify(error)
      const [step, steps] = [progress?.step ?? null, progress?.steps ?? null]
      const others = [started_at ?? null, reason, preview ?? null]
      guard(() => update.run(id, status, statusRank[status], step, steps, ...others))
    },
    async unfinished(most) {
      return guard(() => open.all(new Date().toISOString(), most)).map(toState)
    },
    async list(account, { statuses = Object.keys(statusRank), after, most }) {
      const place = after === undefined ? ['~', ''] : [new Date(after.at).toISOString(), after.id]
      const now = new Date().toISOString()
      const rows = guard(() => listed.all(account, now, ...place, JSON.stringify(statuses), most))
      const states = rows.map(toState)
      const last = states.at(-1)
      if (last === undefined || states.length < most) return { states }
      return { states, next: { at: Date.parse(last.created_at), id: last.id } }
    },
    async forget(id) {
      guard(() => {
        db.prepare('DELETE FROM states WHERE id = ?').run(id)
        db.prepare('DELETE FROM dead_tasks WHERE id = ?').run(id)
      })
    },
    async requestCancel(id) {
      guard(() => mark.run(id, Date.now()))
    },
    async ahead(id) {
      return guard(() => {
        const row = place.get(id) as { seq: number; priority: number; turn: number } | undefined
        if (row === undefined) return undefined
        const { jobs, units } = ahead.get(row.priority, row.turn, row.seq) as { jobs: number; units: number }
        return { jobs, units }
      })
    },
    async heartbeat(worker, secondsPerUnit) {
      guard(() => beat.run(worker, Date.now(), secondsPerUnit ?? null))
    },
    async load() {
      return guard(() => {
        const { workers } = alive.get(Date.now() - workerSilenceMs) as { workers: number }
        const speeds = (speed.all() as { speed: number | null }[]).flatMap((row) => row.speed ?? [])
        const sum = speeds.reduce((total, each) => total + each, 0)
        return { workers, secondsPerUnit: speeds.length === 0 ? undefined : sum / speeds.length }
      })
    },
    async backlog() {
      const rows = guard(() => left.all(new Date().toISOString()))
      const of = (priority: Priority) => {
        const row = rows.find((each) => each.priority === priorities.indexOf(priority))
        const oldest = typeof row?.oldest === 'string' ? Date.now() - Date.parse(row.oldest) : 0
        return {
          jobs: Number(row?.jobs ?? 0),
          running: Number(row?.running ?? 0),
          units: Number(row?.units ?? 0),
          oldestSeconds: Math.max(0, oldest / 1000),
        }
      }
      return { interactive: of('interactive'), batch: of('batch') }
    },
    doubtful: () => false,
    async turn(name, forMs) {
      const now = Date.now()
      if ((turns.get(name) ?? 0) > now) return false
      turns.set(name, now + forMs)
      return true
    },
    async note(name, text, seconds) {
      guard(() => write.run(name, text, Math.ceil(Date.now() + seconds * 1000)))
    },
    async noted(name) {
      const row = guard(() => read.get(name, Date.now()))
      return row === undefined ? undefined : String(row.text)
    },
    ...sqliteShelves(database),
    async sweep(now) {
      guard(() => {
        sweepShelves(database, now)
        const limit = new Date(now.getTime() - keptAfterExpiryMs).toISOString()
        db.prepare('DELETE FROM states WHERE expires_at < ?').run(limit)
        db.prepare('DELETE FROM notes WHERE until <= ?').run(now.getTime())
        db.prepare('DELETE FROM cancels WHERE marked_at < ?').run(now.getTime() - cancelKeptMs)
      })
    },
    async close() {},
  }
}

function unitsOfRow({ id, units }: Record<string, SQLOutputValue>): [string, number] {
  return [String(id), Number(units)]
}

function toState(row: Record<string, SQLOutputValue>): JobState {
  const { step, steps, preview, started_at, error } = row
  return {
    id: String(row.id),
    status: String(row.status) as JobStatus,
    request: fromJson(ResolvedRequest, String(row.request)),
    created_at: String(row.created_at),
    expires_at: String(row.expires_at),
    units: Number(row.units),
    ...(row.priority === priorities.indexOf('batch') ? { priority: 'batch' } : {}),
    // `sent` is from before there was `kept`
    ...(typeof row.sent === 'string' ? { sent: row.sent } : {}),
    ...(typeof row.kept === 'string' ? fromJson(Kept, row.kept) : {}),
    ...(row.account === '' ? {} : { account: String(row.account) }),
    ...(typeof started_at === 'string' ? { started_at } : {}),
    ...(typeof step === 'number' && typeof steps === 'number' ? { progress: { step, steps } } : {}),
    ...(typeof preview === 'number' ? { preview } : {}),
    ...(typeof error === 'string' ? { error: fromJson(JobError, error) } : {}),
    ...(row.cancel_requested === 1 ? { cancel_requested: true } : {}),
  }
}
