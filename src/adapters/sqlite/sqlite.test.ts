import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { eventQueueContract } from '../../../test/contract/event-queue.ts'
import { statusStoreContract } from '../../../test/contract/status-store.ts'
import { taskQueueContract } from '../../../test/contract/task-queue.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { tempFolder } from '../../../test/temp-folder.ts'
import { openDatabase, readSecret } from './database.ts'
import { sqliteEventQueue } from './event-queue.ts'
import { lockFolder } from './folder-lock.ts'
import { sqliteStatusStore } from './status-store.ts'
import { sqliteTaskQueue } from './task-queue.ts'

function database(t: TestContext) {
  const open = openDatabase(join(tempFolder(t), 'test.db'))
  const closing: (() => Promise<void>)[] = []
  t.after(async () => {
    for (const close of closing) await close()
    open.close()
  })
  const keep = <T extends { close(): Promise<void> }>(port: T): T => {
    closing.push(() => port.close())
    return port
  }
  return { open, keep }
}

taskQueueContract('sqlite', (t) => {
  const { open, keep } = database(t)
  const sql = 'INSERT INTO tasks (id, message, due_at) VALUES (?, ?, 0)'
  return {
    open: (options) => keep(sqliteTaskQueue(open, { ...options, log: keepingLog(), pollMs: 10 })),
    inject: (message) => void open.durable.prepare(sql).run(`injected ${message}`, message),
  }
})

eventQueueContract('sqlite', (t) => {
  const { open, keep } = database(t)
  return () => keep(sqliteEventQueue(open, { log: keepingLog(), pollMs: 10, retryMs: 50 }))
})

statusStoreContract('sqlite', (t) => sqliteStatusStore(database(t).open))

test('a secret is made once', (t) => {
  const path = join(tempFolder(t), 'test.db')
  const first = openDatabase(path)
  const secret = Buffer.from(readSecret(first, 'ids'))
  first.close()
  const second = openDatabase(path)
  t.after(() => second.close())
  assert.equal(secret.length, 32)
  assert.deepEqual(Buffer.from(readSecret(second, 'ids')), secret)
  assert.notDeepEqual(Buffer.from(readSecret(second, 'other')), secret)
})

test('what is accepted is synced to the disk', (t) => {
  const { open } = database(t)
  assert.deepEqual({ ...open.durable.prepare('PRAGMA synchronous').get() }, { synchronous: 2 })
  assert.deepEqual({ ...open.durable.prepare('PRAGMA journal_mode').get() }, { journal_mode: 'wal' })
})

test('a file that is no database is refused by its path', (t) => {
  const path = join(tempFolder(t), 'test.db')
  writeFileSync(path, 'not a database, but a text that is long enough to have a header of its own'.repeat(20))
  assert.throws(() => openDatabase(path), { code: 'unavailable', message: new RegExp(`${path} is damaged`) })
  const folder = join(tempFolder(t), 'folder.db')
  mkdirSync(folder)
  assert.throws(() => openDatabase(folder), { code: 'unavailable', message: new RegExp(folder) })
})

test('a database of a newer version is refused', (t) => {
  const path = join(tempFolder(t), 'test.db')
  openDatabase(path).close()
  const raw = new DatabaseSync(path)
  raw.exec('PRAGMA user_version = 99')
  raw.close()
  assert.throws(() => openDatabase(path), { message: /newer version of Packshot/ })
})

test('a folder is locked by one at a time, and free again after the release', (t) => {
  const folder = tempFolder(t)
  const path = join(folder, 'server.lock')
  const lock = lockFolder(path, folder)
  assert.throws(() => lockFolder(path, folder), {
    code: 'unavailable',
    param: 'PACKSHOT_DATA_DIR',
    message: new RegExp(`${folder} is in use .* PACKSHOT_DATA_DIR`),
  })
  lock.release()
  lockFolder(path, folder).release()
  assert.equal(existsSync(path), true)
})
