import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instruments } from '../../src/jobs/metrics.ts'
import { tempFolder } from '../cleanup.ts'
import { ensurePrometheus } from '../deploy/prometheus-tools.ts'
import { lint, metricsOf, scrape } from '../kit/exposition.ts'
import { startReceiver } from '../kit/receiver.ts'
import { waitFor } from '../kit/waiting.ts'
import { startServer, submit, untilFinal } from './server-process.ts'

test('npm start tells every metric of server and worker on one port of its own, and survives the worker', async (t) => {
  const receiver = await startReceiver(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    PACKSHOT_METRICS_PORT: '0',
    PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1',
    PACKSHOT_SHUTDOWN_SECONDS: '0',
  })
  const address = await server.address
  const metrics = metricsOf(server.output()) ?? ''
  assert.notEqual(new URL(metrics).port, new URL(address).port)
  for (const path of ['/metrics', '/healthz/metrics', '/v1/metrics']) {
    assert.equal((await fetch(`${address}${path}`)).status, 404, path)
  }
  const jobs = [
    { prompt: 'a hidden apple, 5ms', steps: 3, count: 2, webhook: receiver.url },
    { prompt: 'throw', priority: 'batch' },
  ]
  const ids: string[] = []
  for (const body of jobs) ids.push((await submit(address, body)).id)
  for (const id of ids) await untilFinal(address, id)
  await waitFor(() => receiver.messages.length === 1)
  let seen = await scrape(metrics)
  const isTold = async () => {
    seen = await scrape(metrics)
    const delivered = seen.value('packshot_webhook_deliveries_total', { outcome: 'delivered' })
    // a task leaves the queue after its job's end was told
    return delivered === 1 && seen.value('packshot_queue_jobs') === 0
  }
  await waitFor(isTold)

  await ensurePrometheus()
  lint(seen.text)
  for (const { name, kind, roles, labels } of Object.values(instruments)) {
    for (const role of roles) {
      const shown = kind === 'histogram' ? `${name}_count` : name
      // the server ended no job here
      if (name === 'packshot_jobs_finished_total' && role === 'server') continue
      assert.ok(seen.value(shown, { role }) !== undefined, `${shown} of a ${role}`)
      for (const label of Object.keys(labels))
        assert.notEqual(seen.labelsOf(label, name).length, 0, `${name} ${label}`)
    }
  }
  const value = (name: string, labels = {}) => seen.value(`packshot_${name}`, labels)
  assert.deepEqual(
    [
      value('jobs_accepted_total', { class: 'batch' }),
      value('jobs_finished_total', {
        status: 'succeeded',
        class: 'interactive',
        code: 'none',
        model: 'stand-in',
      }),
      value('jobs_finished_total', { status: 'failed', class: 'batch', code: 'generation_failed' }),
      value('attempts_total', { outcome: 'retried' }),
      value('queue_jobs'),
      value('queue_work_seconds'),
      value('queue_consumers'),
      value('worker_busy'),
      value('worker_restarts_total'),
      value('webhooks_waiting'),
    ],
    [1, 1, 1, 2, 0, 0, 1, 0, 0, 0],
  )
  for (const name of ['queue', 'status', 'storage']) assert.equal(value('dependency_up', { name }), 2, name)
  assert.ok((value('disk_free_bytes') ?? 0) > 0)
  assert.ok((value('storage_request_duration_seconds_count', { op: 'commit', role: 'worker' }) ?? 0) >= 2)
  assert.deepEqual(seen.labelsOf('role'), ['server', 'worker'])
  for (const word of ['hidden', 'anonymous', ...ids.map((id) => id.slice(0, 26))]) {
    assert.ok(!seen.text.includes(word), word)
  }

  // a worker that dies takes its counts along; the server and the supervisor tell theirs
  process.kill(server.workers()[0] as number, 'SIGKILL')
  await waitFor(async () => (await scrape(metrics)).value('packshot_worker_restarts_total') === 1)
  await waitFor(async () => (await scrape(metrics)).value('packshot_worker_busy') === 0)
  const again = await scrape(metrics)
  assert.equal(again.value('packshot_attempts_total', { outcome: 'done' }), 0)
  assert.equal(again.value('packshot_jobs_accepted_total'), 2)
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0)
})

test('a port for metrics that is in use is an error at the start, with the setting to change', async (t) => {
  const first = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_METRICS_PORT: '0' })
  const taken = new URL(await first.address).port
  const second = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_METRICS_PORT: taken })
  assert.equal(await second.ended, 1)
  const said = new RegExp(
    `^Packshot cannot start: Port ${taken} on 127\\.0\\.0\\.1, for metrics, is in use.*PACKSHOT_METRICS_PORT=`,
    'm',
  )
  assert.match(second.output(), said)
  assert.equal(second.workers().length, 0)
})
