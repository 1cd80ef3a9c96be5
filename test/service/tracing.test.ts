import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { tempFolder } from '../cleanup.ts'
import { type CollectedSpan, startCollector } from '../kit/collector.ts'
import { startReceiver } from '../kit/receiver.ts'
import { waitFor } from '../kit/waiting.ts'
import { startServer, submit, untilFinal } from './server-process.ts'

/** Traces of the whole program, as a collector gets them. */

const marker = 'zebrafish in a top hat'
const traceId = '0af7651916cd43dd8448eb211c80319c'
const soon = { OTEL_BSP_SCHEDULE_DELAY: '100' }

const childrenOf = (spans: readonly CollectedSpan[], parent: CollectedSpan | undefined) =>
  spans
    .filter(({ parentSpanId }) => parent !== undefined && parentSpanId === parent.spanId)
    .toSorted((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano)))

test('one trace goes from the request to the webhook, with nothing secret in it, and polls are not in it', async (t) => {
  const collector = await startCollector(t)
  const receiver = await startReceiver(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=studio',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    ...soon,
  })
  const address = await server.address
  const headers = {
    'content-type': 'application/json',
    authorization: 'Bearer pks_0123456789_hunter2',
    traceparent: `00-${traceId}-b7ad6b7169203331-01`,
  }
  const body = JSON.stringify({ prompt: marker, count: 2, webhook: `${receiver.url}?token=hunter2` })
  const answer = await fetch(`${address}/v1/jobs`, { method: 'POST', headers, body })
  assert.equal(answer.status, 202)
  const { id } = (await answer.json()) as { id: string }
  await untilFinal(address, id)
  for (let n = 0; n < 20; n += 1) await fetch(`${address}/v1/jobs/${id}`, { headers })
  await waitFor(() => receiver.messages.length === 1)
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0)

  const spans = collector.spans()
  assert.deepEqual([...new Set(spans.map((span) => span.traceId))], [traceId])
  const one = (name: string) => {
    const found = spans.filter((span) => span.name === name)
    assert.equal(found.length, 1, `${name} in ${spans.map((span) => span.name)}`)
    return found[0] as CollectedSpan
  }
  const way = [
    'POST /v1/jobs',
    'send tasks',
    'process tasks',
    'send events',
    'process events',
    'send webhooks',
    'process webhooks',
    'POST webhook',
  ].map(one)
  const [request] = way
  assert.equal(request?.parentSpanId, 'b7ad6b7169203331')
  for (const [index, span] of way.entries()) {
    if (index > 0) assert.equal(span.parentSpanId, way[index - 1]?.spanId, span.name)
  }
  assert.deepEqual(
    way.map(({ kind, resource }) => [kind, resource['packshot.role'], resource['service.name']]),
    [
      [2, 'server', 'packshot-server'],
      [4, 'server', 'packshot-server'],
      [5, 'worker', 'packshot-worker'],
      [4, 'worker', 'packshot-worker'],
      [5, 'server', 'packshot-server'],
      [4, 'server', 'packshot-server'],
      [5, 'server', 'packshot-server'],
      [3, 'server', 'packshot-server'],
    ],
  )
  for (const span of way.filter(({ kind }) => kind === 5))
    assert.deepEqual(
      span.links.map((link) => link.spanId),
      [span.parentSpanId],
    )
  assert.equal(request?.resource['deployment.environment.name'], 'test')
  assert.equal(collector.receiver.messages[0]?.headers['x-tenant'], 'studio')

  const attempt = one('process tasks')
  assert.deepEqual(
    [attempt.attributes['packshot.outcome'], attempt.attributes['packshot.job'], attempt.failed],
    ['done', id.slice(0, 26), false],
  )
  const parts = childrenOf(spans, attempt).map(({ name }) => name)
  assert.deepEqual(parts, ['make pictures', 'put picture', 'put picture', 'put manifest', 'send events'])
  const engine = childrenOf(spans, one('make pictures')).map(({ name }) => name)
  const picture = ['load', 'text', 'step', 'step', 'step', 'step', 'decode']
  assert.deepEqual(engine, [...picture, ...picture])

  // the receiver may continue the trace
  const sent = receiver.messages[0]?.headers.traceparent
  assert.equal(sent, `00-${traceId}-${one('POST webhook').spanId}-01`)
  for (const secret of ['zebrafish', 'hunter2', id, '127.0.0.1:', receiver.url])
    assert.ok(
      !collector
        .text()
        .replace(/"host":"[^"]*"/g, '')
        .includes(secret),
      `${secret} in a span`,
    )
  const lines = server
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { msg: string; trace?: string; job?: string })
  for (const msg of ['job accepted', 'job is final', 'webhook delivered']) {
    const line = lines.find((each) => each.msg === msg)
    assert.deepEqual([line?.trace, line?.job], [traceId, id.slice(0, 26)], msg)
  }
})

test('an attempt that fails is marked with its code; a trace that is not sampled has no span at all', async (t) => {
  const collector = await startCollector(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/elsewhere/v1/traces`,
    OTEL_SERVICE_NAME: 'studio',
    ...soon,
  })
  const address = await server.address
  const headers = { 'content-type': 'application/json', traceparent: `00-${traceId}-b7ad6b7169203331-00` }
  const unsampled = await fetch(`${address}/v1/jobs`, {
    method: 'POST',
    headers,
    body: '{"prompt":"an apple"}',
  })
  await untilFinal(address, ((await unsampled.json()) as { id: string }).id)
  const { id } = await submit(address, { prompt: `throw ${marker}` })
  assert.equal((await untilFinal(address, id)).status, 'failed')
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0)
  const spans = collector.spans()
  assert.ok(!spans.some((span) => span.traceId === traceId))
  assert.equal(collector.receiver.messages[0]?.path, '/elsewhere/v1/traces')
  assert.ok(spans.every(({ resource }) => resource['service.name'] === 'studio'))
  const attempts = spans.filter(({ name }) => name === 'process tasks')
  assert.deepEqual(
    attempts.map(({ attributes }) => attributes['packshot.outcome']),
    ['retried', 'retried', 'done'],
  )
  const engine = spans.filter(({ name }) => name === 'make pictures')
  assert.deepEqual(
    engine.map(({ attributes, failed }) => [attributes['error.type'], failed]),
    Array(3).fill(['generation_failed', true]),
  )
  for (const secret of ['zebrafish', 'a secret of the engine']) assert.ok(!collector.text().includes(secret))
})

test('a collector that is not there, hangs or answers errors delays nothing, is logged once, and gets spans again later', async (t) => {
  const hanging: ServerResponse[] = []
  const hangs = await startCollector(t, (response) => void hanging.push(response))
  const fails = await startCollector(t, (response) => response.writeHead(500).end('no'))
  const gone = await startCollector(t)
  await gone.receiver.close()
  const run = async (url: string) => {
    const server = startServer(t, {
      PACKSHOT_DATA_DIR: tempFolder(t),
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '200',
      OTEL_BSP_MAX_QUEUE_SIZE: '8',
      OTEL_BSP_SCHEDULE_DELAY: '20',
    })
    const address = await server.address
    for (let n = 0; n < 5; n += 1) {
      const { id } = await submit(address, { prompt: 'a red apple' })
      assert.equal((await untilFinal(address, id)).status, 'succeeded')
    }
    return { server, address }
  }
  const said = (output: string) => output.split('traces cannot be sent').length - 1
  for (const { url } of [hangs, fails, gone]) {
    const { server, address } = await run(url)
    await waitFor(() => said(server.output()) === 2)
    if (url === gone.url) {
      const back = await startCollector(t, undefined, gone.receiver.port)
      await waitFor(async () => {
        await untilFinal(address, (await submit(address, { prompt: 'a red apple' })).id)
        return back.spans().length > 0
      })
      await waitFor(() => server.output().includes('traces are sent again'))
    }
    server.process.kill('SIGTERM')
    assert.equal(await server.ended, 0)
    // by server and worker
    assert.equal(said(server.output()), 2, server.output())
  }
  for (const response of hanging) response.end()
})

test('each job of a catalogue run has a trace of its own, and a long job has a bounded number of spans', async (t) => {
  const collector = await startCollector(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    ...soon,
  })
  const address = await server.address
  const headers = { 'content-type': 'application/json', traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  const body = JSON.stringify({
    csv: 'sku,title\nA,apple\nB,pear\nC,plum\n',
    template: { prompt: '{title}' },
  })
  const answer = await fetch(`${address}/v1/catalogues`, { method: 'POST', headers, body })
  assert.equal(answer.status, 202, await answer.clone().text())
  const { links } = (await answer.json()) as { links: { self: string } }
  await waitFor(async () => {
    const view = (await (await fetch(address + links.self)).json()) as { status: string }
    return view.status === 'finished'
  })
  const { id } = await submit(address, { prompt: 'an apple', steps: 60, count: 4 })
  await untilFinal(address, id)
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0)
  const spans = collector.spans()
  const sent = spans.filter(({ name }) => name === 'send tasks')
  const ofRun = sent.filter(({ parentSpanId }) => parentSpanId === undefined)
  assert.equal(ofRun.length, 3)
  assert.equal(new Set([...sent.map((span) => span.traceId), traceId]).size, 5)
  const long = spans.find(({ attributes }) => attributes['packshot.pictures'] === 4)
  const steps = childrenOf(spans, long).filter(({ name }) => name === 'steps')
  assert.equal(steps.length, 80)
  assert.equal(Number(steps.at(-1)?.attributes['packshot.step']), 240)
})

test('without a collector the trace of a client still goes to the log and to the receiver of the webhook', async (t) => {
  const receiver = await startReceiver(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_TRACES_EXPORTER: 'none',
  })
  const address = await server.address
  const traceparent = `00-${traceId}-b7ad6b7169203331-01`
  const headers = { 'content-type': 'application/json', traceparent }
  for (const more of [headers, { 'content-type': 'application/json' }]) {
    const body = JSON.stringify({ prompt: 'an apple', webhook: receiver.url })
    assert.equal((await fetch(`${address}/v1/jobs`, { method: 'POST', headers: more, body })).status, 202)
  }
  await waitFor(() => receiver.messages.length === 2)
  // the second job is drawn while the first is stored: either may be told first
  assert.deepEqual(
    new Set(receiver.messages.map((message) => message.headers.traceparent)),
    new Set([traceparent, undefined]),
  )
  const lines = server.output().split('\n')
  const final = lines.filter((line) => line.includes('"msg":"job is final"'))
  assert.equal(final.length, 2)
  assert.deepEqual(
    new Set(final.map((line) => (JSON.parse(line) as { trace?: string }).trace)),
    new Set([traceId, undefined]),
  )
  assert.ok(!server.output().includes('traces'))
})
