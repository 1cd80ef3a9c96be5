import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { type Embedded, embedded, runDeps, submit, workUntil } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { openStream } from '../../../test/wire/event-stream.ts'
import type { Caller } from '../../jobs/caller.ts'
import { keepPreview } from '../../jobs/previews.ts'
import { type WatchOptions, watchJobs } from '../../jobs/serving/wait.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'
import { defaultTrafficLimits } from '../traffic.ts'

const apple = { prompt: 'an apple' }

interface Options {
  readonly watch?: WatchOptions
  readonly idleMs?: number
  readonly caller?: Caller
}

async function server(t: TestContext, { watch: limits, idleMs = 30_000, caller }: Options = {}) {
  const parts = embedded(t)
  const watch = watchJobs(parts, { tickMs: 10, ...limits })
  const services = createServices(
    { ...parts, watch, ...(caller !== undefined && { caller: () => caller }) },
    () => true,
  )
  const traffic = { ...defaultTrafficLimits, idleMs }
  const app = await buildHttp({ services, log: pino({ level: 'silent' }), traffic })
  lastFirst(t).after(() => app.close())
  lastFirst(t).after(() => watch.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { app, parts, watch, url: `http://127.0.0.1:${port}` }
}

const workAll = (parts: Embedded) =>
  workUntil(parts, runDeps(parts), async () => (await parts.queue.depth()) === 0)

test('a stream begins at once with the job, tells what happens, and ends with the final job', async (t) => {
  const { parts, url } = await server(t)
  const { id } = await submit(parts, { ...apple, previews: 1 })
  const stream = await openStream(`${url}/v1/jobs/${id}/events`, { 'last-event-id': 'from another server' })
  const { statusCode, headers } = stream.answer
  assert.deepEqual([statusCode, headers['content-type']], [200, 'text/event-stream'])
  assert.deepEqual([headers['cache-control'], headers['x-accel-buffering']], ['no-store', 'no'])
  await waitFor(() => stream.events().length === 1)
  assert.match(stream.text, /^retry: \d{4}\nevent: status\n/)
  assert.deepEqual([stream.events()[0]?.data.id, stream.events()[0]?.data.status], [id, 'queued'])

  await parts.status.advance(id, { status: 'running', progress: { step: 1, steps: 4 } })
  await waitFor(() => stream.events().length === 3)
  await keepPreview(parts.status, id, { index: 1, bytes: Buffer.from('a picture') })
  await waitFor(() => stream.events().length === 4)
  const [status, progress, preview] = stream.events().slice(1)
  assert.deepEqual([status?.event, status?.data.status], ['status', 'running'])
  assert.deepEqual([progress?.event, progress?.data], ['progress', { step: 1, steps: 4 }])
  const address = `/v1/jobs/${id}/preview?index=1`
  assert.deepEqual([preview?.event, preview?.data], ['preview', { index: 1, url: address }])
  const picture = await fetch(url + address)
  assert.deepEqual([picture.headers.get('content-type'), await picture.text()], ['image/jpeg', 'a picture'])

  await workAll(parts)
  await waitFor(() => stream.ended)
  const last = stream.events().at(-1)
  assert.deepEqual([last?.event, last?.data.status], ['done', 'succeeded'])
  assert.match(stream.text, /id: done\nevent: done\n.+\n\n$/)
  assert.ok(stream.answer.complete)
  assert.equal((await fetch(url + address)).status, 404, 'a final job has no preview')

  const again = await openStream(`${url}/v1/jobs/${id}/events`)
  await waitFor(() => again.ended)
  assert.deepEqual(
    again.events().map(({ event }) => event),
    ['done'],
  )
  const reconnected = await fetch(`${url}/v1/jobs/${id}/events`, { headers: { 'last-event-id': 'done' } })
  assert.equal(reconnected.status, 204, 'a browser does not connect again after this')
})

test('what is not there is refused before a stream begins, and a job that goes ends it', async (t) => {
  const { parts, url } = await server(t)
  const fault = async (path: string) => {
    const answer = await fetch(url + path)
    return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code]
  }
  assert.deepEqual(await fault('/v1/jobs/x/events'), [404, 'not_found'])
  assert.deepEqual(await fault('/v1/jobs/x/preview'), [404, 'not_found'])
  const { id } = await submit(parts, apple)
  assert.deepEqual(await fault(`/v1/jobs/${id}/preview`), [404, 'not_found'])
  assert.equal((await fetch(`${url}/v1/jobs/${id}/events`, { method: 'HEAD' })).status, 405)
  const stream = await openStream(`${url}/v1/jobs/${id}/events`)
  await waitFor(() => stream.events().length === 1)
  parts.clock.ahead = 3_700_000
  await waitFor(() => stream.ended)
  const last = stream.events().at(-1)
  assert.deepEqual(
    [last?.event, (last?.data.error as { code?: string } | undefined)?.code],
    ['gone', 'expired'],
  )
  assert.deepEqual(await fault(`/v1/jobs/${id}/events`), [410, 'expired'])
})

test('streams are bounded, a client that leaves makes room, and a server that stops ends them', async (t) => {
  const { parts, url, watch } = await server(t, { watch: { mostFollowers: 3, mostOfAccount: 2 } })
  const { id } = await submit(parts, apple)
  const streams = [
    await openStream(`${url}/v1/jobs/${id}/events`),
    await openStream(`${url}/v1/jobs/${id}/events`),
  ]
  const refused = await fetch(`${url}/v1/jobs/${id}/events`)
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '5'])
  streams[0]?.answer.destroy()
  await waitFor(async () => {
    const { answer } = await openStream(`${url}/v1/jobs/${id}/events`)
    answer.destroy()
    return answer.statusCode === 200
  })
  watch.close()
  await waitFor(() => streams[1]?.ended)
  assert.match(streams[1]?.text ?? '', /: the server stops\n\n$/)
  assert.ok(streams[1]?.answer.complete)
})

test('a stream may be silent, and unread, for longer than an answer may stand still', async (t) => {
  const idleMs = 200
  const { parts, url } = await server(t, { idleMs, watch: { mostOfAccount: 10 } })
  const { id } = await submit(parts, apple)
  const silent = await openStream(`${url}/v1/jobs/${id}/events`)
  const unread = await openStream(`${url}/v1/jobs/${id}/events`)
  unread.answer.pause()
  await new Promise((resolve) => setTimeout(resolve, 5 * idleMs))
  assert.equal(silent.ended, false, 'nothing happened, and nothing was due')
  assert.equal(unread.ended, false)
  await workAll(parts)
  await waitFor(() => silent.ended)
  assert.equal(silent.events().at(-1)?.event, 'done')
})
