import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CollectedSpan, startCollector, startSentry } from '../kit/collector.ts'
import { startReceiver } from '../kit/receiver.ts'
import { waitFor } from '../kit/waiting.ts'
import { untilFinal } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { endWell, post, startCrew } from './crew.ts'
import { prepareFleet } from './fleet.ts'

/** One trace over the services of a fleet, with signed messages and a client's own context; and its reports. */

const marker = 'zebrafish in a top hat'

test('a trace goes through RabbitMQ from a client, over server, worker and server, to the receiver of the webhook', async (t) => {
  const all = await services()
  const [collector, sentry, receiver] = [
    await startCollector(t),
    await startSentry(t),
    await startReceiver(t),
  ]
  const fleet = await prepareFleet(t, all, {
    PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1',
    PACKSHOT_MESSAGE_KEY: 'abcdefghijklmnopqrstuvwxyz012345',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '100',
    SENTRY_DSN: sentry.dsn,
  })
  const crew = await startCrew(fleet, { servers: 2, workers: 2 })
  const traces = Array.from({ length: 4 }, (_, n) => `${n}af7651916cd43dd8448eb211c80319c`)
  const ids: string[] = []
  for (const [n, trace] of traces.entries()) {
    const headers = { traceparent: `00-${trace}-b7ad6b7169203331-01` }
    const body = { prompt: n === 3 ? `throw ${marker}` : marker, webhook: `${receiver.url}?token=hunter2` }
    const answer = await post(crew.addresses[n % 2] ?? '', body, headers)
    assert.equal(answer.status, 202)
    ids.push(answer.body.id)
  }
  for (const id of ids) await untilFinal(crew.addresses[0], id)
  await waitFor(() => receiver.messages.length === ids.length)
  await endWell(fleet, all, crew, ids)

  const spans = collector.spans()
  for (const [n, trace] of traces.entries()) {
    const own = spans.filter(({ traceId }) => traceId === trace)
    const last = own.filter(({ name }) => name === 'POST webhook').at(-1)
    assert.deepEqual(
      wayTo(own, last),
      [
        'b7ad6b7169203331',
        'server POST /v1/jobs',
        'server send tasks',
        'worker process tasks',
        'worker send events',
        'server process events',
        'server send webhooks',
        'server process webhooks',
        'server POST webhook',
      ],
      `trace ${n} of ${own.map(({ name }) => name)}`,
    )
    const { traceparent } =
      receiver.messages.find(({ headers }) =>
        String(headers['webhook-id']).includes(ids[n]?.slice(0, 26) ?? '?'),
      )?.headers ?? {}
    assert.equal(String(traceparent).slice(3, 35), trace)
    const systems = own.flatMap(({ attributes }) => attributes['messaging.system'] ?? [])
    assert.deepEqual([...new Set(systems)], ['rabbitmq'])
  }
  const [event, ...more] = sentry.events()
  assert.deepEqual([event?.tags.code, event?.tags.trace, more], ['generation_failed', traces[3], []])
  const passwords = [all.secretAccessKey, new URL(all.queueUrl).password, 'abcdefghijklmnopqrstuvwxyz012345']
  for (const secret of ['zebrafish', 'hunter2', ...ids, ...passwords.filter((each) => each.length > 5)])
    for (const text of [collector.text(), sentry.text()]) assert.ok(!text.includes(secret), secret)
})

/** The spans from the first of a trace to this one; what is the parent of the first comes before it. */
function wayTo(spans: readonly CollectedSpan[], span: CollectedSpan | undefined): string[] {
  if (span === undefined) return []
  const parent = spans.find(({ spanId }) => spanId === span.parentSpanId)
  const before = parent === undefined ? [span.parentSpanId ?? 'none'] : wayTo(spans, parent)
  return [...before, `${span.resource['packshot.role']} ${span.name}`]
}
