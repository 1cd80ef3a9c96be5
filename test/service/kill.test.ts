import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { Value } from 'typebox/value'
import { openDatabase } from '../../src/adapters/sqlite/database.ts'
import { Manifest } from '../../src/jobs/job.ts'
import type { WebhookLog } from '../../src/jobs/webhook.ts'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { startReceiver } from '../kit/receiver.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { isAlive, type ServerProcess, startServer, submit, untilFinal, view } from './server-process.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** How many of the jobs succeeded; of each of those, the picture exists and is complete at this moment. */
async function countFinished(address: string, ids: readonly string[]): Promise<number> {
  let finished = 0
  for (const id of ids) {
    const { status, images } = await view(address, id)
    const response = await fetch(`${address}/v1/jobs/${id}/images/0`)
    if (status === 'succeeded') {
      finished += 1
      assert.equal(response.status, 200)
      assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), images[0]?.sha256)
    } else {
      assert.ok(['queued', 'running'].includes(status), `a job is ${status}`)
      await response.arrayBuffer()
    }
  }
  return finished
}

async function killWorker(server: ServerProcess): Promise<void> {
  const pid = server.workers().at(-1) as number
  process.kill(pid, 'SIGKILL')
  await waitFor(async () => server.workers().at(-1) !== pid)
}

test('kills the worker, then the server, with -9 during 20 jobs, restarts, and finds 20 finished jobs, each once', async (t) => {
  const folder = tempFolder(t)
  const env = { PACKSHOT_DATA_DIR: folder }
  const first = startServer(t, env)
  const address = await first.address
  const ids: string[] = []
  for (let seed = 0; seed < 20; seed += 1)
    ids.push((await submit(address, { prompt: 'a red apple 30ms', seed })).id)

  await waitFor(async () => (await countFinished(address, ids)) >= 3)
  await killWorker(first)
  await waitFor(async () => (await countFinished(address, ids)) >= 8)
  first.process.kill('SIGKILL')
  assert.equal(await first.ended, 'SIGKILL')
  await waitFor(async () => !isAlive(first.workers().at(-1) as number))

  const second = startServer(t, env)
  const addressNow = await second.address
  await waitFor(async () => (await countFinished(addressNow, ids)) === ids.length)
  second.process.kill('SIGTERM')
  assert.equal(await second.ended, 0)

  const manifests = globSync('results/*/*/manifest.json', { cwd: folder }).map((file) => {
    const manifest = Value.Parse(Manifest, JSON.parse(readFileSync(join(folder, file), 'utf8')))
    const [image, ...others] = manifest.images
    assert.deepEqual([manifest.status, others], ['succeeded', []])
    assert.equal(sha256(readFileSync(join(folder, dirname(file), '0.png'))), image?.sha256)
    return manifest
  })
  assert.deepEqual(manifests.map((manifest) => manifest.id).sort(), ids.toSorted())
  assert.deepEqual(
    manifests.map((manifest) => manifest.images[0]?.seed ?? -1).sort((a, b) => a - b),
    ids.map((_, seed) => seed),
  )
  const database = openDatabase(join(folder, 'packshot.sqlite'))
  lastFirst(t).after(() => database.close())
  for (const table of ['tasks', 'dead_tasks']) {
    assert.deepEqual(
      { ...database.durable.prepare(`SELECT count(*) AS rows FROM ${table}`).get() },
      { rows: 0 },
    )
  }
})

test('a job that kills its worker every time is failed, and the jobs behind it are made', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) })
  const address = await server.address
  const poison = await submit(address, { prompt: 'kill' })
  const apple = await submit(address, { prompt: 'a red apple' })
  assert.equal((await untilFinal(address, apple.id)).status, 'succeeded')
  const failed = await untilFinal(address, poison.id)
  assert.deepEqual([failed.status, failed.error?.code], ['failed', 'generation_failed'])
  assert.ok(server.workers().length >= 4)
})

test('a server that is killed while it tells a receiver tells it again, with the same id', async (t) => {
  const folder = tempFolder(t)
  const env = { PACKSHOT_DATA_DIR: folder, PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1' }
  const receiver = await startReceiver(t, (response, number) => {
    if (number > 1) response.writeHead(204).end()
  })
  const first = startServer(t, env)
  const { id } = await submit(await first.address, { prompt: 'a red apple', webhook: receiver.url })
  await waitFor(() => receiver.messages.length === 1)
  first.process.kill('SIGKILL')
  await first.ended
  await waitFor(async () => !isAlive(first.workers().at(-1) as number))
  const address = await startServer(t, env).address
  await waitFor(() => receiver.messages.length === 2)
  const ids = receiver.messages.map(({ headers }) => headers['webhook-id'])
  assert.deepEqual(ids, Array(2).fill(`evt_${id.slice(0, 26)}_succeeded`))
  await waitFor(async () => {
    const log = (await (await fetch(`${address}/v1/jobs/${id}/webhooks`)).json()) as WebhookLog
    return log.tries.at(-1)?.status === 204
  })
})

test('faults of the engine end as the job`s error, never as a dead worker', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_ATTEMPT_SECONDS: '600' })
  const address = await server.address
  const jobs = [await submit(address, { prompt: 'throw' }), await submit(address, { prompt: 'crash' })]
  for (const { id } of jobs) {
    const { status, error } = await untilFinal(address, id)
    assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
    assert.doesNotMatch(error?.message ?? '', /secret/)
  }
  assert.match(server.output(), /a secret of the engine/)
  assert.equal(server.workers().length, 1)
})

test('a job in work is canceled while its server runs, and the next one is made', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) })
  const address = await server.address
  const long = await submit(address, { prompt: 'a slow apple 50ms', steps: 100, count: 4 })
  const next = await submit(address, { prompt: 'a red apple' })
  await waitFor(async () => ((await view(address, long.id)).progress?.step ?? 0) > 0)
  const response = await fetch(`${address}/v1/jobs/${long.id}`, { method: 'DELETE' })
  assert.equal(((await response.json()) as { status: string }).status, 'canceled')
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  assert.equal((await view(address, long.id)).status, 'canceled')
})

test('results are gone when their time is over', async (t) => {
  const folder = tempFolder(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: folder,
    PACKSHOT_RESULT_TTL_SECONDS: String(stretched(10)),
  })
  const address = await server.address
  const { id } = await submit(address, { prompt: 'a red apple' })
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await waitFor(async () => (await fetch(`${address}/v1/jobs/${id}`)).status === 410)
  assert.equal((await fetch(`${address}/v1/jobs/${id}/images/0`)).status, 410)
  await waitFor(async () => globSync('results/*/*', { cwd: folder }).length === 0)
  assert.equal((await fetch(`${address}/v1/jobs/${id}`)).status, 410)
})
