import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { someManifest, someTask } from '../../test/contract/jobs.ts'
import { ownEnvironment, ownOptions } from '../../test/kit/own-environment.ts'
import { keepingLog } from '../../test/quiet-log.ts'
import { diskImageStore } from '../adapters/disk/image-store.ts'
import { openDatabase, readSecret } from '../adapters/sqlite/database.ts'
import { sqliteStatusStore } from '../adapters/sqlite/status-store.ts'
import { sqliteTaskQueue } from '../adapters/sqlite/task-queue.ts'
import type { Task } from '../jobs/job.ts'
import { createJobIds } from '../jobs/job-id.ts'

const program = fileURLToPath(new URL('./jobs.ts', import.meta.url))

/** A data folder with two jobs of ann and one of bob, and the command in it. */
async function folder(t: TestContext) {
  const path = tempFolder(t)
  const database = openDatabase(join(path, 'packshot.sqlite'))
  lastFirst(t).after(() => database.close())
  const ids = createJobIds(readSecret(database, 'job-ids'))
  const queue = sqliteTaskQueue(database, { max: 100, owner: 'server', log: keepingLog() })
  const status = sqliteStatusStore(database)
  const tasks = ['ann', 'ann', 'bob'].map((account) =>
    someTask({
      id: ids.issue(new Date(), account === 'bob' ? 'shop' : undefined),
      account,
      units: 2.5,
      ...(account === 'bob' ? { caller: 'shop' } : {}),
    }),
  )
  for (const task of tasks) {
    await queue.publish(task)
    await status.create(task)
  }
  const jobs = (...args: string[]) =>
    new Promise<{ code: number; output: string }>((resolve) => {
      const env = { ...ownEnvironment(), PACKSHOT_DATA_DIR: path }
      execFile(process.execPath, [...ownOptions(), program, ...args], { env }, (error, stdout, stderr) => {
        resolve({ code: Number(error?.code ?? 0), output: stdout + stderr })
      })
    })
  const images = diskImageStore({ folder: join(path, 'results'), ttlSeconds: 3600 })
  return {
    queue,
    status,
    images,
    database,
    tasks,
    ids: tasks.map(({ id }) => id) as [string, string, string],
    jobs,
  }
}

test('an operator sees whose jobs wait, cancels those of one caller, and purges', async (t) => {
  const { queue, status, ids, jobs } = await folder(t)
  const [first, second, other] = ids
  const { output } = await jobs('list')
  assert.match(
    output,
    new RegExp(
      `${first}  queued +2\\.5  - +ann .*\\n.*${other}  queued .* shop +bob .*\\n.*${second}  queued`,
    ),
  )
  assert.match(output, /3 jobs wait or run\./)
  for (const [by, name] of [
    ['--account', 'bob'],
    ['--caller', 'shop'],
  ] as const) {
    assert.match((await jobs('list', by, name)).output, /1 jobs wait or run\./)
  }
  assert.deepEqual(await jobs('cancel', '--account', 'ann'), {
    code: 0,
    output: `${first}  canceled\n${second}  canceled\n`,
  })
  assert.equal(await queue.depth(), 1)
  assert.deepEqual(await jobs('purge', other), { code: 0, output: `${other}  deleted\n` })
  assert.deepEqual([await queue.depth(), await status.get(other)], [0, undefined])
})

test('an operator has the webhook of a final job sent again', async (t) => {
  const { tasks, images, database, ids, jobs } = await folder(t)
  const [final, waiting] = ids
  const webhook = { url: 'https://shop.example.net/hook', base: 'https://studio.example.com' }
  await images.commit(someManifest(tasks[0] as Task, { webhook }))
  const { code, output } = await jobs('webhook', final, waiting, 'nothing')
  assert.equal(code, 1)
  assert.match(
    output,
    new RegExp(`${final}  on the queue.*\n${waiting}  The job is not final yet.*\nnothing  `),
  )
  const rows = database.durable.prepare('SELECT message FROM webhooks').all()
  const [delivery, ...more] = rows.map(({ message }) => JSON.parse(String(message)))
  assert.deepEqual(
    [delivery.id, delivery.url, more],
    [`evt_${final.slice(0, 26)}_succeeded`, webhook.url, []],
  )
})

test('the command says what it wants, and what it cannot find', async (t) => {
  const { ids, jobs } = await folder(t)
  for (const args of [[], ['cancel', '--all', ids[0]]]) {
    const { code, output } = await jobs(...args)
    assert.equal(code, 1, args.join(' '))
    assert.match(output, /^Usage: npm run jobs/m)
  }
  const unknown = await jobs('cancel', 'nothing', ids[0])
  assert.deepEqual(unknown, {
    code: 1,
    output: `nothing  There is no job with this id.\n${ids[0]}  canceled\n`,
  })
})
