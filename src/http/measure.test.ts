import assert from 'node:assert/strict'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { lastFirst } from '../../test/cleanup.ts'
import { embedded, quickGenerator, runDeps, submit, workUntil } from '../../test/jobs/embedded.ts'
import { readExposition } from '../../test/kit/exposition.ts'
import { waitFor } from '../../test/kit/waiting.ts'
import { openStream } from '../../test/wire/event-stream.ts'
import { prometheusMetrics } from '../adapters/prometheus/registry.ts'
import { mostValues } from '../adapters/prometheus/series.ts'
import { cancelJob } from '../jobs/serving/cancel.ts'
import { startSender } from '../jobs/serving/webhooks/send.ts'
import { buildHttp } from './app.ts'
import { createServices } from './services.ts'

/** A server and a worker in this process, with what both measure in one registry. */
async function measuredServer(t: TestContext) {
  const own = prometheusMetrics({ role: 'server', runtime: false })
  const working = prometheusMetrics({ role: 'worker', runtime: false })
  const parts = { ...embedded(t), metrics: own.metrics }
  const services = createServices(parts, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }), metrics: own.metrics })
  lastFirst(t).after(() => app.close())
  return {
    app,
    parts,
    deps: runDeps(parts, { metrics: working.metrics }),
    seen: async () => readExposition(await own.text()),
    seenByWorker: async () => readExposition(await working.text()),
  }
}

const requests = 'packshot_http_request_duration_seconds_count'

test('strangers make no series: unknown paths are one route, and unusual methods one method', async (t) => {
  const { app, seen } = await measuredServer(t)
  for (let n = 0; n < 3 * mostValues; n += 1) {
    await app.inject({ url: `/wp-admin/${n}` })
    await app.inject({ url: `/v1/jobs/${n}${'x'.repeat(20)}?page=${n}` })
  }
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const send = (method: string, path: string) =>
    new Promise<number>((resolve, reject) =>
      request(`${address}${path}`, { method }, (answer) =>
        answer.resume().once('end', () => resolve(answer.statusCode ?? 0)),
      )
        .once('error', reject)
        .end(),
    )
  for (const method of ['PROPFIND', 'MKCOL', 'LOCK', 'PURGE', 'SEARCH', 'OPTIONS', 'PUT']) {
    for (const path of ['/v1/jobs', '/nothing']) assert.ok((await send(method, path)) >= 400, method)
  }
  const told = await seen()
  const routes = told.labelsOf('route')
  assert.ok(routes.includes('none') && routes.includes('/v1/jobs/:id'), routes.join())
  assert.ok(routes.length <= 4, routes.join())
  assert.deepEqual(told.labelsOf('method'), ['GET', 'OPTIONS', 'PUT', 'other'])
  assert.equal(told.value(requests, { route: 'none', method: 'GET', code: '404' }), 3 * mostValues)
  assert.equal(told.value(requests, { route: '/v1/jobs/:id', code: '404' }), 3 * mostValues)
  const refused = (code: string) => told.value('packshot_requests_refused_total', { code })
  assert.equal(refused('not_found'), told.value(requests, { code: '404' }))
  assert.equal(refused('method_not_allowed'), told.value(requests, { code: '405' }))
})

test('refusals are counted by the code of their error, on every interface and once each', async (t) => {
  const { app, seen } = await measuredServer(t)
  const json = { 'content-type': 'application/json' }
  const post = (url: string, payload: string, headers: Record<string, string> = json) =>
    app.inject({ method: 'POST', url, headers, payload })
  assert.equal((await post('/v1/jobs', '{"steps":0}')).statusCode, 400)
  assert.equal((await post('/v1/jobs', '{')).statusCode, 400)
  assert.equal((await post('/v1/jobs', 'x', { 'content-type': 'text/plain' })).statusCode, 415)
  assert.equal((await post('/v1/images/generations', '{"prompt":""}')).statusCode, 400)
  const form = {
    'content-type': 'application/x-www-form-urlencoded',
    host: 'localhost',
    origin: 'http://localhost',
  }
  const page = await post('/jobs', 'prompt=', form)
  assert.ok(page.statusCode >= 400, page.body)
  const told = await seen()
  const refused = (code: string) => told.value('packshot_requests_refused_total', { code })
  assert.deepEqual(
    [refused('invalid_request'), refused('invalid_json'), refused('unsupported_media_type')],
    [3, 1, 1],
  )
  assert.equal(told.value('packshot_requests_refused_total'), 5)
})

test('jobs are counted once, by who ends them; their attempts, steps and webhooks too', async (t) => {
  const { app, parts, deps, seen, seenByWorker } = await measuredServer(t)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const webhook = 'https://shop.test/hook'
  const apple = await submit(parts, {
    prompt: 'a secret apple',
    steps: 4,
    count: 2,
    width: 512,
    height: 512,
    webhook,
  })
  await submit(parts, { prompt: 'throw', steps: 4, priority: 'batch' })
  const early = await submit(parts, { prompt: 'never made' })
  await cancelJob(parts, early.id)
  const late = await submit(parts, { prompt: 'canceled', webhook })
  await cancelJob(parts, late.id)
  const stream = await openStream(`${address}/v1/jobs/${apple.id}/events`)
  await waitFor(async () => (await seen()).value('packshot_event_streams') === 1)
  const generator = quickGenerator((_step, prompt) => {
    if (prompt === 'throw') throw new Error('a fault of the engine')
  })
  await workUntil(parts, { ...deps, generator }, async () => (await parts.queue.depth()) === 0)
  parts.watch.changed(apple.id)
  await waitFor(() => stream.ended)
  await waitFor(async () => (await seen()).value('packshot_event_streams') === 0)

  const [server, worker] = [await seen(), await seenByWorker()]
  const finished = (labels: Record<string, string>) => [
    server.value('packshot_jobs_finished_total', labels),
    worker.value('packshot_jobs_finished_total', labels),
  ]
  const none = undefined
  assert.deepEqual(
    [
      server.value('packshot_jobs_accepted_total', { class: 'interactive' }),
      server.value('packshot_jobs_accepted_total', { class: 'batch' }),
    ],
    [3, 1],
  )
  assert.deepEqual(finished({ status: 'succeeded', class: 'interactive', model: 'stand-in', code: 'none' }), [
    none,
    1,
  ])
  assert.deepEqual(finished({ status: 'failed', class: 'batch', code: 'internal' }), [none, 1])
  assert.deepEqual(finished({ status: 'canceled', class: 'interactive' }), [2, none])
  assert.deepEqual(finished({}), [2, 2])
  const attempts = (outcome: string) => worker.value('packshot_attempts_total', { outcome })
  assert.deepEqual(
    ['done', 'retried', 'failed', 'canceled', 'returned', 'lost'].map(attempts),
    [1, 2, 1, 0, 0, 0],
  )
  const counted = (name: string, labels = {}) => worker.value(`packshot_${name}_count`, labels)
  // two pictures of four steps, the first of each apart
  assert.equal(counted('step_duration_seconds', { size: '512', model: 'stand-in' }), 6)
  assert.equal(counted('attempt_duration_seconds', { size: '512' }), 1)
  assert.equal(counted('job_wait_seconds', { class: 'interactive' }), 1)
  assert.equal(counted('job_wait_seconds', { class: 'batch' }), 1)
  assert.equal(counted('job_duration_seconds'), 2)
  assert.ok((worker.value('packshot_picture_cost_seconds', { model: 'stand-in' }) ?? 0) > 0)
  const now = Date.now() / 1000
  const progress = worker.value('packshot_worker_last_progress_timestamp_seconds') ?? 0
  assert.ok(progress > now - 600 && progress <= now)
  for (const { text } of [server, worker]) {
    for (const word of ['secret', 'anonymous', '127.0.0.1', apple.id, apple.id.slice(0, 26), 'shop.test']) {
      assert.ok(!text.includes(word), word)
    }
  }
})

test('webhooks are counted by what became of each try', async (t) => {
  const { parts, seen } = await measuredServer(t)
  const { webhookQueue: queue, webhookSecrets: secrets, status, log, now, metrics, ttlSeconds } = parts
  const answers = [200, 500, 410, 500, 500]
  const deps = {
    ...{ queue, secrets, status, log, now, metrics, ttlSeconds },
    generationOf: () => 1,
    userAgent: 'Packshot/test',
    post: async () => ({ status: answers.shift() ?? 200 }),
  }
  const limits = { concurrency: 1, perReceiver: 1, perCaller: 1, schedule: [600], deferMs: 1 }
  const delivery = (n: number, failures = 0) => ({
    ...{ v: 1 as const, id: `evt_${n}`, caller: 'anonymous', url: `https://shop${n}.test/hook`, body: '{}' },
    ...{ queued_at: now().toISOString(), failures, deferrals: 0, log: `job ${n}` },
  })
  const sender = await startSender(deps, limits)
  for (const [n, failures] of [0, 0, 0, 1].entries()) {
    await queue.publish(delivery(n, failures))
    await waitFor(() => answers.length === 4 - n)
  }
  await sender.stop()
  const told = await seen()
  const counted = (outcome: string) => told.value('packshot_webhook_deliveries_total', { outcome })
  assert.deepEqual([counted('delivered'), counted('retried'), counted('failed')], [1, 1, 2])
})
