import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { eventQueueContract } from '../../../test/contract/event-queue.ts'
import { someTask } from '../../../test/contract/jobs.ts'
import { statusStoreContract } from '../../../test/contract/status-store.ts'
import { abandon, collect, type TaskQueueKit, taskQueueContract } from '../../../test/contract/task-queue.ts'
import { someDelivery, webhookQueueContract } from '../../../test/contract/webhook-queue.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import type { Task } from '../../jobs/job.ts'
import type { Delivery, TaskQueue } from '../../jobs/ports.ts'
import { lockFolder } from '../disk/folder-lock.ts'
import { openDatabase, readSecret } from './database.ts'
import { sqliteEventQueue } from './event-queue.ts'
import { sqliteStatusStore } from './status-store.ts'
import { sqliteTaskQueue } from './task-queue.ts'
import { sqliteWebhookQueue } from './webhook-queue.ts'

function database(t: TestContext) {
  const open = openDatabase(join(tempFolder(t), 'test.db'))
  const closing: (() => Promise<void>)[] = []
  lastFirst(t).after(async () => {
    for (const close of closing) await close()
    open.close()
  })
  const keep = <T extends { close(): Promise<void> }>(port: T): T => {
    closing.push(() => port.close())
    return port
  }
  return { open, keep }
}

const usual = { max: 100, owner: 'worker-1', leaseMs: 30_000 }

/** Queues on one new database; `crash` simulates the death of the process: its timers never run again. */
function taskQueueKit(t: TestContext): TaskQueueKit {
  const { open, keep } = database(t)
  const sql = 'INSERT INTO tasks (id, message, due_at) VALUES (?, ?, 0)'
  return {
    overshoot: 0,
    handsOverDead: false,
    withdraws: true,
    open: async (options) => keep(sqliteTaskQueue(open, { ...options, log: keepingLog(), pollMs: 10 })),
    inject: async (message) => void open.durable.prepare(sql).run(`injected ${message}`, message),
    crash: async () => void open.durable.exec('UPDATE tasks SET lease_until = 0, token = NULL'),
  }
}

taskQueueContract('sqlite', async (t) => taskQueueKit(t))

eventQueueContract('sqlite', async (t) => {
  const { open, keep } = database(t)
  return async () => keep(sqliteEventQueue(open, { log: keepingLog(), pollMs: 10, retryMs: 50 }))
})

webhookQueueContract('sqlite', async (t) => {
  const { open, keep } = database(t)
  const sql = 'INSERT INTO webhooks (message, due_at, waits_ms) VALUES (?, 0, 0)'
  const shared = { log: keepingLog(), pollMs: 10, retryMs: 20 }
  return {
    open: async ({ name = 'server', max = 100 } = {}) =>
      keep(sqliteWebhookQueue(open, { ...shared, owner: name, max })),
    inject: async (message) => void open.durable.prepare(sql).run(message),
  }
})

test('a server that starts takes the webhooks that it had in work when it died', async (t) => {
  const { open, keep } = database(t)
  const start = () =>
    sqliteWebhookQueue(open, { max: 9, owner: 'server', log: keepingLog(), pollMs: 10, leaseMs: 3_600_000 })
  const dead = start()
  const delivery = someDelivery()
  await dead.publish(delivery)
  const taken = Promise.withResolvers<void>()
  const hanging = Promise.withResolvers<undefined>()
  lastFirst(t).after(() => hanging.resolve(undefined))
  await dead.consume(
    (each) => {
      taken.resolve()
      return each === undefined ? Promise.resolve(undefined) : hanging.promise
    },
    { concurrency: 1 },
  )
  await taken.promise
  const again = Promise.withResolvers<unknown>()
  await keep(start()).consume(async (each) => void again.resolve(each), { concurrency: 1 })
  assert.deepEqual(await again.promise, delivery)
  hanging.resolve(undefined)
  await dead.close()
})

statusStoreContract('sqlite', async (t) => sqliteStatusStore(database(t).open), 'by sweep')

test('a task is taken once, however often it is published', async (t) => {
  const queue = await taskQueueKit(t).open({ ...usual, max: 1 })
  const task = someTask()
  await queue.publish(task)
  await queue.publish(task)
  assert.equal(await queue.depth(), 1)
})

test('a task in work counts as one in the queue', async (t) => {
  const queue = await taskQueueKit(t).open({ ...usual, max: 1 })
  await queue.publish(someTask())
  await collect(queue, 1, async (delivery) => {
    assert.equal(await queue.depth(), 1)
    await assert.rejects(queue.publish(someTask()), { code: 'queue_full' })
    await delivery.ack()
  })
})

test('another worker gets a task when the lease is over, and the first one is ignored from then on', async (t) => {
  const kit = taskQueueKit(t)
  const zombie = await kit.open({ ...usual, owner: 'zombie', leaseMs: 150 })
  await zombie.publish(someTask())
  const stuck = await abandonWithoutRenewal(zombie)
  const other = await kit.open({ ...usual, owner: 'other' })
  const [again] = await collect(other, 1, async (delivery) => {
    await stuck.ack()
    assert.equal(await other.depth(), 1)
    await delivery.ack()
  })
  assert.deepEqual([again?.attempt, again?.losses], [1, 1])
  assert.equal(stuck.lost.aborted, true)
})

test('a consumer that starts frees what an earlier one of its name left', async (t) => {
  const kit = taskQueueKit(t)
  const dead = await kit.open({ ...usual, leaseMs: 1000 })
  await dead.publish(someTask())
  await abandon(dead)
  const [again] = await collect(await kit.open(usual), 1, (delivery) => delivery.ack())
  assert.equal(again?.losses, 1)
})

/** Takes a task like a worker that a signal then stops: its timers do not run. */
async function abandonWithoutRenewal(queue: TaskQueue): Promise<Delivery> {
  const original = globalThis.setInterval
  globalThis.setInterval = ((action: () => void) => {
    const timer = original(action, 2 ** 30)
    timer.unref()
    return timer
  }) as typeof setInterval
  try {
    return await abandon(queue)
  } finally {
    globalThis.setInterval = original
  }
}

test('a secret is made once', (t) => {
  const path = join(tempFolder(t), 'test.db')
  const first = openDatabase(path)
  const secret = Buffer.from(readSecret(first, 'ids'))
  first.close()
  const second = openDatabase(path)
  lastFirst(t).after(() => second.close())
  assert.equal(secret.length, 32)
  assert.deepEqual(Buffer.from(readSecret(second, 'ids')), secret)
  assert.notDeepEqual(Buffer.from(readSecret(second, 'other')), secret)
})

test('what is accepted is synced to the disk', (t) => {
  const { open } = database(t)
  assert.deepEqual({ ...open.durable.prepare('PRAGMA synchronous').get() }, { synchronous: 2 })
  assert.deepEqual({ ...open.durable.prepare('PRAGMA journal_mode').get() }, { journal_mode: 'wal' })
})

test('a database of the first version is brought up to date, with its tasks', async (t) => {
  const path = join(tempFolder(t), 'test.db')
  const raw = new DatabaseSync(path)
  raw.exec(`PRAGMA user_version = 1;
    CREATE TABLE tasks (
      seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, message TEXT NOT NULL, due_at INTEGER NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0, owner TEXT, token TEXT, lease_until INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE states (seq INTEGER PRIMARY KEY, id TEXT, created_at TEXT) STRICT;`)
  const task = someTask()
  raw
    .prepare('INSERT INTO tasks (id, message, due_at, attempts) VALUES (?, ?, 0, 2)')
    .run(task.id, JSON.stringify(task))
  raw.close()
  const open = openDatabase(path)
  const queue = sqliteTaskQueue(open, { ...usual, log: keepingLog(), pollMs: 10 })
  lastFirst(t).after(async () => {
    await queue.close()
    open.close()
  })
  const [delivery] = await collect(queue, 1, (each) => each.ack())
  assert.deepEqual([delivery?.message, delivery?.attempt, delivery?.losses], [task, 1, 2])
})

test('callers take turns: who submits a thousand jobs does not keep others waiting, and one caller keeps its order', async (t) => {
  const queue = await taskQueueKit(t).open(usual)
  const published: [string, string, number][] = [
    ...[1, 2, 3, 4].map((n): [string, string, number] => [`a${n}`, 'ann', 10]),
    ['b1', 'bob', 10],
    ['c1', 'cat', 5],
    ['c2', 'cat', 5],
    ['c3', 'cat', 5],
  ]
  for (const [trace, account, units] of published) await queue.publish(someTask({ trace, account, units }))
  const taken = await collect(queue, published.length, (each) => each.ack())
  const order = taken.map(({ message }) => (message as Task).trace)
  assert.deepEqual(order, ['a1', 'b1', 'c1', 'c2', 'a2', 'c3', 'a3', 'a4'])
})

test('a file that is no database is refused by its path, which only the operator sees', (t) => {
  const path = join(tempFolder(t), 'test.db')
  writeFileSync(path, 'not a database, but a text that is long enough to have a header of its own'.repeat(20))
  assert.throws(() => openDatabase(path), {
    code: 'unavailable',
    message: 'The database is damaged or not a database of Packshot.',
    detail: new RegExp(`${path} is damaged`),
  })
  const folder = join(tempFolder(t), 'folder.db')
  mkdirSync(folder)
  assert.throws(() => openDatabase(folder), { code: 'unavailable', detail: new RegExp(folder) })
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
