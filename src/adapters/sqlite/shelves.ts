import type { StatusStore } from '../../jobs/ports.ts'
import { type Database, guard } from './database.ts'

/** Lists of small texts, as rows; a list whose time is over is empty, and deleted by `sweepShelves`. */
export function sqliteShelves(database: Database): Pick<StatusStore, 'shelve' | 'shelved' | 'unshelve'> {
  const db = database.relaxed
  const live = db.prepare(`INSERT INTO shelf_lives (list, until) VALUES (?1, ?2)
    ON CONFLICT (list) DO UPDATE SET until = excluded.until`)
  const renew = db.prepare('UPDATE shelf_lives SET until = ?2 WHERE list = ?1 AND until < ?2 - 60000')
  const lives = db.prepare('SELECT 1 FROM shelf_lives WHERE list = ? AND until > ?')
  const put = db.prepare(`INSERT INTO shelves (list, id, at, text) VALUES (?, ?, ?, ?)
    ON CONFLICT (list, id) DO UPDATE SET at = excluded.at, text = excluded.text`)
  const trim = db.prepare(`DELETE FROM shelves WHERE list = ?1 AND id IN
    (SELECT id FROM shelves WHERE list = ?1 ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?2)`)
  const empty = db.prepare('DELETE FROM shelves WHERE list = ?')
  const read = db.prepare('SELECT id, at, text FROM shelves WHERE list = ? ORDER BY at DESC, id DESC')
  const drop = db.prepare('DELETE FROM shelves WHERE list = ?1 AND id IN (SELECT value FROM json_each(?2))')
  return {
    async shelve(list, { id, at, text }, { most, seconds }) {
      guard(() => {
        db.exec('BEGIN IMMEDIATE')
        try {
          const now = Date.now()
          if (lives.get(list, now) === undefined) empty.run(list)
          live.run(list, now + seconds * 1000)
          put.run(list, id, at, text)
          trim.run(list, most)
          db.exec('COMMIT')
        } catch (thrown) {
          db.exec('ROLLBACK')
          throw thrown
        }
      })
    },
    async shelved(list, seconds) {
      return guard(() => {
        const now = Date.now()
        if (lives.get(list, now) === undefined) return []
        renew.run(list, now + seconds * 1000)
        return read
          .all(list)
          .map(({ id, at, text }) => ({ id: String(id), at: Number(at), text: String(text) }))
      })
    },
    async unshelve(list, ids) {
      guard(() => drop.run(list, JSON.stringify(ids)))
    },
  }
}

/** Deletes the lists whose time is over. */
export function sweepShelves(database: Database, now: Date): void {
  const db = database.relaxed
  const over = 'SELECT list FROM shelf_lives WHERE until <= ?'
  db.prepare(`DELETE FROM shelves WHERE list IN (${over})`).run(now.getTime())
  db.prepare('DELETE FROM shelf_lives WHERE until <= ?').run(now.getTime())
}
