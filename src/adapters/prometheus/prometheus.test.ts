import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { lint, readExposition, scrape } from '../../../test/kit/exposition.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { instruments, type Metrics, type MetricsRole } from '../../jobs/metrics.ts'
import { listenForScrapes } from './listener.ts'
import { mergeTexts } from './merge.ts'
import { prometheusMetrics } from './registry.ts'
import { mostValues } from './series.ts'

const open = (role: MetricsRole) => prometheusMetrics({ role, runtime: true })

test('a process tells the instruments of its role alone, and promtool has nothing against any', async () => {
  for (const role of ['server', 'worker'] as const) {
    const { metrics, text } = open(role)
    for (const [name, { kind, labels }] of Object.entries(instruments)) {
      const values = Object.fromEntries(
        Object.entries(labels as Record<string, readonly string[] | undefined>).map(([label, known]) => [
          label,
          known?.[0] ?? 'x',
        ]),
      )
      const any = metrics[name as keyof Metrics] as unknown as Record<string, (...args: unknown[]) => void>
      if (kind === 'counter') any.add?.(values)
      else if (kind === 'gauge') any.set?.(values, 2)
      else any.observe?.(values, 0.3)
    }
    const told = await text()
    lint(told)
    const seen = readExposition(told)
    assert.deepEqual(seen.labelsOf('role'), [role])
    for (const { name, kind, roles } of Object.values(instruments)) {
      const value = seen.value(kind === 'histogram' ? `${name}_count` : name)
      assert.equal(value === undefined, !roles.includes(role as never), `${name} of a ${role}`)
    }
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds']) {
      assert.ok(seen.value(name) !== undefined, name)
    }
  }
})

test('a histogram counts in its buckets, a counter begins with 0, a gauge is absent until it is known', async () => {
  const { metrics, text } = open('worker')
  const labels = { model: 'a "model"\n\\', size: '512' } as const
  for (const seconds of [0.1, 0.11, 2, 4000]) metrics.attemptDuration.observe(labels, seconds)
  metrics.workerBusy.set({}, 1)
  metrics.workerBusy.set({}, 0)
  metrics.pictureCost.set({ model: 'm' }, 3)
  metrics.pictureCost.forget({ model: 'm' })
  metrics.pictureCost.forget({ model: 'never' })
  const told = await text()
  lint(told)
  const seen = readExposition(told)
  const bucket = (le: string) => seen.value('packshot_attempt_duration_seconds_bucket', { le })
  assert.deepEqual(
    [bucket('0.1'), bucket('0.5'), bucket('2.5'), bucket('1800'), bucket('+Inf')],
    [1, 2, 3, 3, 4],
  )
  assert.equal(seen.value('packshot_attempt_duration_seconds_sum'), 4002.21)
  assert.deepEqual(seen.labelsOf('model'), ['a \\"model\\"\\n\\\\'])
  assert.equal(seen.value('packshot_attempts_total', { outcome: 'lost' }), 0)
  assert.equal(seen.value('packshot_job_wait_seconds_count', { class: 'batch' }), 0)
  assert.equal(seen.value('packshot_worker_busy'), 0)
  for (const name of ['packshot_picture_cost_seconds', 'packshot_worker_last_progress_timestamp_seconds']) {
    assert.equal(seen.value(name), undefined, name)
  }
})

test('a label has a bounded number of values, whatever comes; what is beyond is counted together', async () => {
  const { metrics, text } = open('worker')
  for (let n = 0; n < 10 * mostValues; n += 1) {
    metrics.stepDuration.observe({ model: `model ${n}`, size: '512' }, 1)
  }
  const seen = readExposition(await text())
  assert.equal(seen.labelsOf('model').length, mostValues + 1)
  const steps = 'packshot_step_duration_seconds_count'
  assert.deepEqual(
    [seen.value(steps, { model: 'model 3' }), seen.value(steps, { model: 'other' }), seen.value(steps)],
    [1, 9 * mostValues, 10 * mostValues],
  )
})

test('the texts of two processes become one, with each metric once', async () => {
  const [server, worker] = [open('server'), open('worker')]
  server.metrics.jobsFinished.add({ class: 'batch', status: 'canceled', model: 'm', code: 'none' })
  worker.metrics.jobsFinished.add({ class: 'batch', status: 'succeeded', model: 'm', code: 'none' }, 2)
  const merged = mergeTexts([await server.text(), '', await worker.text()])
  lint(merged)
  const seen = readExposition(merged)
  assert.equal(seen.value('packshot_jobs_finished_total'), 3)
  assert.equal(merged.match(/^# TYPE packshot_jobs_finished_total /gm)?.length, 1)
  assert.deepEqual(seen.labelsOf('role', 'process_resident_memory_bytes'), ['server', 'worker'])
})

test('a scrape is answered at its own path alone, by one text for all who ask at once', async (t) => {
  let [made, release] = [0, Promise.withResolvers<void>()]
  const listener = await listenForScrapes({
    host: '127.0.0.1',
    port: 0,
    allows: (host) => !host.startsWith('evil.example'),
    async text() {
      made += 1
      await release.promise
      return `packshot_made ${made}\n`
    },
  })
  lastFirst(t).after(() => listener.close())
  const many = Promise.all(Array.from({ length: 8 }, () => scrape(listener.address)))
  await waitFor(() => made === 1)
  release.resolve()
  for (const { text } of await many) assert.equal(text, 'packshot_made 1\n')
  release = Promise.withResolvers()
  release.resolve()
  // the text is used again for a while, and made anew afterwards
  await waitFor(async () => (await scrape(listener.address)).value('packshot_made') === 2)

  const [base] = listener.address.split('/metrics')
  const status = async (path: string, init: RequestInit = {}) => (await fetch(`${base}${path}`, init)).status
  assert.deepEqual(
    [
      await status('/'),
      await status('/metrics/x'),
      await status('/metrics?x=1'),
      await status('/metrics', { method: 'POST', body: 'x' }),
      await status('/metrics', { method: 'HEAD' }),
    ],
    [404, 404, 200, 405, 200],
  )
  const { port } = new URL(listener.address)
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(Number(port), '127.0.0.1', () =>
      socket.write('GET /metrics HTTP/1.1\r\nHost: evil.example:1\r\nConnection: close\r\n\r\n'),
    )
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('close', () => resolve(text))
  })
  assert.match(answer, /^HTTP\/1\.1 421 /)
})

test('a text that cannot be made is a 500 for this scrape, and the next one is asked for again', async (t) => {
  let fails = true
  const listener = await listenForScrapes({
    host: '127.0.0.1',
    port: 0,
    allows: () => true,
    text: async () => {
      if (fails) throw new Error('a secret of the service')
      return 'packshot_made 1\n'
    },
  })
  lastFirst(t).after(() => listener.close())
  const answer = await fetch(listener.address)
  assert.equal(answer.status, 500)
  assert.doesNotMatch(await answer.text(), /secret/)
  fails = false
  assert.equal((await scrape(listener.address)).value('packshot_made'), 1)
})

test('no more than some connections are held; those beyond are closed', async (t) => {
  const listener = await listenForScrapes({
    host: '127.0.0.1',
    port: 0,
    allows: () => true,
    text: async () => 'packshot_made 1\n',
  })
  lastFirst(t).after(() => listener.close())
  const { port } = new URL(listener.address)
  const sockets = Array.from({ length: 40 }, () => connect(Number(port), '127.0.0.1'))
  lastFirst(t).after(() => {
    for (const socket of sockets) socket.destroy()
  })
  let closed = 0
  for (const socket of sockets) {
    socket.on('error', () => {})
    socket.once('close', () => {
      closed += 1
    })
  }
  await waitFor(() => closed === 8)
  for (const socket of sockets) socket.destroy()
  await waitFor(async () => (await fetch(listener.address).catch(() => undefined))?.status === 200)
})

test('a port or an address that cannot be had is said with the setting to change', async (t) => {
  const options = { host: '127.0.0.1', allows: () => true, text: async () => '' }
  const first = await listenForScrapes({ ...options, port: 0 })
  lastFirst(t).after(() => first.close())
  const port = Number(new URL(first.address).port)
  await assert.rejects(listenForScrapes({ ...options, port }), (fault: Error) => {
    assert.match(fault.message, new RegExp(`^Port ${port} on 127\\.0\\.0\\.1, for metrics, is in use`))
    assert.match(fault.message, /PACKSHOT_METRICS_PORT=\d+/)
    return true
  })
  await assert.rejects(listenForScrapes({ ...options, host: '192.0.2.1', port: 0 }), /PACKSHOT_METRICS_HOST/)
})
