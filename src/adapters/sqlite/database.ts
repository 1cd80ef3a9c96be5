import { randomBytes } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { AppError, type ErrorCode } from '../../jobs/errors.ts'

/**
 * The database file of embedded mode, opened by the server process and by the worker process at once.
 *
 * Each process has two connections: `durable` commits with fsync (WAL, synchronous=FULL) for what must survive a
 * power cut, `relaxed` without one (synchronous=NORMAL) for progress, which is written often and may be lost.
 */
export interface Database {
  readonly durable: DatabaseSync
  readonly relaxed: DatabaseSync
  close(): void
}

/** Step n turns a file of version n into version n + 1. A released step is never changed. */
const migrations = [
  `
  CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, message TEXT NOT NULL, due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, owner TEXT, token TEXT, lease_until INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE dead_tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, message TEXT NOT NULL, reason TEXT NOT NULL,
    died_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT NOT NULL, due_at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0, token TEXT, lease_until INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE states (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, rank INTEGER NOT NULL,
    request TEXT NOT NULL, units REAL NOT NULL, step INTEGER, steps INTEGER, created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL, started_at TEXT, error TEXT
  ) STRICT;
  CREATE INDEX states_unfinished ON states (seq) WHERE rank < 2;
  CREATE INDEX states_expiry ON states (expires_at);
  CREATE TABLE cancels (id TEXT PRIMARY KEY, marked_at INTEGER NOT NULL) STRICT;
  CREATE TABLE workers (name TEXT PRIMARY KEY, seen_at INTEGER NOT NULL, seconds_per_unit REAL) STRICT;
  `,
  // tasks.attempts counted every delivery; now it counts retries, and losses counts the deliveries that were not ended
  `
  ALTER TABLE tasks ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
  UPDATE tasks SET losses = attempts, attempts = 0;
  ALTER TABLE states ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
  `,
  // whose jobs they are, and in which turn they go: see turns.ts
  `
  ALTER TABLE tasks ADD COLUMN sent TEXT;
  ALTER TABLE tasks ADD COLUMN account TEXT NOT NULL DEFAULT '';
  ALTER TABLE tasks ADD COLUMN units REAL NOT NULL DEFAULT 0;
  ALTER TABLE tasks ADD COLUMN turn REAL NOT NULL DEFAULT 0;
  ALTER TABLE states ADD COLUMN sent TEXT;
  ALTER TABLE states ADD COLUMN account TEXT NOT NULL DEFAULT '';
  ALTER TABLE states ADD COLUMN turn REAL NOT NULL DEFAULT 0;
  CREATE INDEX tasks_of_account ON tasks (account, priority);
  `,
  `
  ALTER TABLE states ADD COLUMN kept TEXT;
  CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
  `,
  `
  ALTER TABLE states ADD COLUMN preview INTEGER;
  CREATE INDEX states_of_account ON states (account, created_at, id);
  `,
  // webhooks on their way; fresh: not tried yet
  `
  CREATE TABLE webhooks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, due_at INTEGER NOT NULL, waits_ms INTEGER NOT NULL,
    fresh INTEGER NOT NULL DEFAULT 1, losses INTEGER NOT NULL DEFAULT 0, owner TEXT, token TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL
  ) STRICT;
  CREATE INDEX webhooks_due ON webhooks (due_at, waits_ms, lease_until);
  CREATE INDEX webhooks_fresh ON webhooks (seq) WHERE fresh = 1;
  `,
  // lists of small texts, such as the jobs of a workspace; until: of the whole list
  `
  CREATE TABLE shelves (
    list TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (list, id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE shelf_lives (list TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT;
  `,
]

/** Creates the file and its tables if missing. Throws an `AppError` that names the path. */
export function openDatabase(path: string): Database {
  return guard(() => {
    const durable = connect(path, 'FULL')
    try {
      migrate(durable, path)
      const relaxed = connect(path, 'NORMAL')
      return {
        durable,
        relaxed,
        close() {
          relaxed.close()
          durable.close()
        },
      }
    } catch (thrown) {
      durable.close()
      throw thrown
    }
  }, path)
}

function connect(path: string, synchronous: 'FULL' | 'NORMAL'): DatabaseSync {
  const connection = new DatabaseSync(path, { timeout: 5000 })
  try {
    const { journal_mode } = connection.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
    if (journal_mode !== 'wal') {
      const what =
        'has no memory that processes can share, which SQLite needs. Choose a folder on a local disk with PACKSHOT_DATA_DIR.'
      throw new AppError('unavailable', `The file system of the database ${what}`, {
        param: 'PACKSHOT_DATA_DIR',
        detail: `The file system of ${path} ${what}`,
      })
    }
    connection.exec(`PRAGMA synchronous = ${synchronous}`)
    return connection
  } catch (thrown) {
    connection.close()
    throw thrown
  }
}

function migrate(connection: DatabaseSync, path: string): void {
  connection.exec('BEGIN IMMEDIATE')
  try {
    const { user_version } = connection.prepare('PRAGMA user_version').get() as { user_version: number }
    if (user_version > migrations.length) {
      const what = 'was written by a newer version of Packshot.'
      throw new AppError('unavailable', `The database ${what}`, { detail: `The database ${path} ${what}` })
    }
    for (const step of migrations.slice(user_version)) connection.exec(step)
    connection.exec(`PRAGMA user_version = ${migrations.length}`)
    connection.exec('COMMIT')
  } catch (thrown) {
    connection.exec('ROLLBACK')
    throw thrown
  }
}

/** The secret of this name, created at the first call and constant afterwards. */
export function readSecret(database: Database, name: string): Uint8Array {
  return guard(() => {
    const insert = database.durable.prepare('INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)')
    insert.run(name, randomBytes(32))
    const row = database.durable.prepare('SELECT value FROM secrets WHERE name = ?').get(name)
    return (row as { value: Uint8Array }).value
  })
}

/** Runs a database action; its errors become the `AppError`s that the ports promise. */
export function guard<T>(action: () => T, path?: string): T {
  try {
    return action()
  } catch (thrown) {
    throw translate(thrown, path)
  }
}

const full = 13
const damaged: readonly number[] = [11, 26]

function translate(thrown: unknown, path: string | undefined): unknown {
  if (thrown instanceof AppError || !(thrown instanceof Error)) return thrown
  const errcode =
    'errcode' in thrown && typeof thrown.errcode === 'number' ? thrown.errcode & 0xff : undefined
  // the path is the operator's
  const fault = (code: ErrorCode, what: string) =>
    new AppError(code, `The database ${what}`, {
      cause: thrown,
      ...(path !== undefined && { detail: `The database ${path} ${what}` }),
    })
  if (errcode === full) return fault('storage_full', 'has no room to grow.')
  if (errcode !== undefined && damaged.includes(errcode)) {
    return fault('unavailable', 'is damaged or not a database of Packshot.')
  }
  return fault('unavailable', `cannot be used: ${thrown.message}.`)
}
