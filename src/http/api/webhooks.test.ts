import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, runDeps, workUntil } from '../../../test/jobs/embedded.ts'
import { handleEvent } from '../../jobs/serving/news.ts'
import type { WebhookDelivery } from '../../jobs/webhook.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

async function server(t: TestContext) {
  const parts = embedded(t)
  const services = createServices(parts, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }), trustedProxies: '127.0.0.1' })
  lastFirst(t).after(() => app.close())
  const queued = () =>
    parts.database.durable
      .prepare('SELECT message FROM webhooks ORDER BY seq')
      .all()
      .map(({ message }) => JSON.parse(String(message)) as WebhookDelivery)
  const consumer = await parts.events.consume((event) => handleEvent(parts, event))
  lastFirst(t).after(() => consumer.stop())
  const untilDone = () => workUntil(parts, runDeps(parts), async () => queued().length > 0)
  return { app, parts, queued, untilDone }
}

test('a job names its receiver, whose links are those of the client; its log can be read and it is sent again', async (t) => {
  const { app, parts, queued, untilDone } = await server(t)
  const headers = {
    host: 'studio.test',
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-prefix': '/packshot',
  }
  const payload = { prompt: 'an apple', webhook: 'https://shop.example.net/hook?token=7' }
  const accepted = await app.inject({ method: 'POST', url: '/v1/jobs', headers, payload })
  assert.equal(accepted.statusCode, 202, accepted.body)
  const { id } = accepted.json()
  const log = () => app.inject({ url: `/v1/jobs/${id}/webhooks` })
  assert.equal((await log()).statusCode, 404)
  await untilDone()
  const [delivery] = queued()
  const { data } = JSON.parse(delivery?.body ?? '')
  assert.equal(data.links.self, `https://studio.test/packshot/v1/jobs/${id}`)
  const told = await log()
  const event = `evt_${id.slice(0, 26)}_succeeded`
  const url = 'https://shop.example.net/hook?...'
  assert.deepEqual(told.json(), { event, url, queued_at: delivery?.queued_at, tries: [] })
  assert.equal(told.headers['cache-control'], 'no-store')
  const again = await app.inject({ method: 'POST', url: `/v1/jobs/${id}/webhooks/resend` })
  assert.equal(again.statusCode, 202)
  assert.equal(again.json().event, event)
  const sent = queued().map((each) => [each.id, each.body, each.url])
  assert.deepEqual(sent, Array(2).fill([event, delivery?.body, payload.webhook]))
  const secret = await app.inject({ url: '/v1/webhooks/secret' })
  const caller = parts.caller({ address: '127.0.0.1' })
  assert.deepEqual(secret.json(), { key: parts.webhooks.secretOf(caller) })
  assert.equal(secret.headers['cache-control'], 'no-store')
})

test('bad webhooks and calls about none are answered by name', async (t) => {
  const { app } = await server(t)
  const submit = (webhook: unknown) =>
    app.inject({ method: 'POST', url: '/v1/jobs', payload: { prompt: 'an apple', webhook } })
  for (const webhook of [
    'http://shop.example.net',
    'https://10.0.0.1/',
    '',
    7,
    null,
    ['https://a.example.net'],
  ]) {
    const answer = await submit(webhook)
    assert.equal(answer.statusCode, 400, `${webhook}: ${answer.body}`)
    const { error } = answer.json()
    assert.deepEqual([error.code, error.param], ['invalid_request', 'webhook'])
  }
  const { id } = (
    await app.inject({ method: 'POST', url: '/v1/jobs', payload: { prompt: 'an apple' } })
  ).json()
  for (const [method, url, status] of [
    ['GET', `/v1/jobs/${id}/webhooks`, 404],
    ['POST', `/v1/jobs/${id}/webhooks/resend`, 409],
    ['GET', '/v1/jobs/nothing/webhooks', 404],
    ['POST', '/v1/jobs/nothing/webhooks/resend', 404],
  ] as const)
    assert.equal((await app.inject({ method, url })).statusCode, status, url)
})
