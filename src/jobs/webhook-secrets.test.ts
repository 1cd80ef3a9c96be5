import assert from 'node:assert/strict'
import { test } from 'node:test'
import { validateWebhook } from 'replicate'
import { Webhook } from 'standardwebhooks'
import { Webhook as Svix } from 'svix'
import { createWebhookSecrets, signatureOf } from './webhook-secrets.ts'

const installation = [
  Buffer.from('the new secret of the tests'),
  Buffer.from('the old secret of the tests'),
] as const
const body = '{"type":"job.succeeded","data":{"prompt":"ein Apfel, \\u00e4"}}'

test('signs as the specification does', () => {
  // the specification's own example, recomputed with two other programs
  const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')
  const message = {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: 1_614_265_330,
    body: '{"test": 2432232314}',
  }
  assert.equal(signatureOf(key, message), 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

test('the libraries of receivers verify it, and refuse another body, caller or generation', async () => {
  const secrets = createWebhookSecrets(...installation)
  const secret = secrets.shown('shop', 1)
  assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  const timestamp = Math.floor(Date.now() / 1000)
  const signature = secrets.sign('shop', 1, { id: 'evt_1', timestamp, body })
  const headers = {
    'webhook-id': 'evt_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signature,
  }
  assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body))
  new Svix(secret).verify(body, headers)
  const parts = { id: 'evt_1', timestamp: String(timestamp), signature, body, secret }
  assert.equal(await validateWebhook(parts), true)
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers))
  for (const other of [secrets.shown('shop', 2), secrets.shown('sho', 1), secrets.shown('anonymous', 1)])
    assert.throws(() => new Webhook(other).verify(body, headers))
})

test('while a secret is rotated the one before signs too: that of the caller and that of the installation', () => {
  const [now, before] = installation
  const secrets = createWebhookSecrets(now, before)
  const timestamp = Math.floor(Date.now() / 1000)
  const signature = secrets.sign('shop', 3, { id: 'evt_1', timestamp, body })
  const headers = {
    'webhook-id': 'evt_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signature,
  }
  for (const installed of [now, before]) {
    const shown = createWebhookSecrets(installed)
    for (const generation of [3, 2]) new Webhook(shown.shown('shop', generation)).verify(body, headers)
    for (const generation of [1, 4])
      assert.throws(() => new Webhook(shown.shown('shop', generation)).verify(body, headers))
  }
  assert.equal(secrets.shown('shop', 3), createWebhookSecrets(now).shown('shop', 3))
})
