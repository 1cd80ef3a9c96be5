import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { openBroker } from '../../src/adapters/rabbitmq/broker.ts'
import { openRedis } from '../../src/adapters/redis/connection.ts'
import { openBucket } from '../../src/adapters/s3/bucket.ts'
import { webhookPost } from '../../src/adapters/webhooks/post.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { webhookRules } from '../../src/jobs/webhook-address.ts'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { keepingLog } from '../quiet-log.ts'

/** A TLS server at localhost whose certificate is signed by nobody, and which answers any request 204. */
async function ownAuthority(t: Cleanup): Promise<{ port: number; certificate: string }> {
  const folder = tempFolder(t)
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const made = spawnSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject])
  assert.equal(made.status, 0, String(made.stderr))
  const certificate = readFileSync(cert, 'utf8')
  const server = createServer({ key: readFileSync(key), cert: certificate }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 204 No Content\r\n\r\n'))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  lastFirst(t).after(() => void server.close())
  return { port: (server.address() as AddressInfo).port, certificate }
}

test('a certificate of an unknown authority is refused without another try, and the remedy is named', async (t) => {
  const { port } = await ownAuthority(t)
  const startMs = 600_000
  const services = {
    PACKSHOT_STATUS_URL: (log: ReturnType<typeof keepingLog>) =>
      openRedis({ url: `rediss://u:p@localhost:${port}`, log, startMs }),
    PACKSHOT_QUEUE_URL: (log: ReturnType<typeof keepingLog>) =>
      openBroker({ url: `amqps://u:p@localhost:${port}`, namespace: 'n', queueMax: 1, log, startMs }),
    PACKSHOT_S3_ENDPOINT: (log: ReturnType<typeof keepingLog>) =>
      openBucket({
        url: 's3://bucket',
        endpoint: `https://localhost:${port}`,
        region: 'us-east-1',
        credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
        log,
        startMs,
      }),
  }
  for (const [param, open] of Object.entries(services)) {
    const log = keepingLog()
    await assert.rejects(open(log), (thrown) => {
      assert.ok(thrown instanceof AppError)
      assert.equal(thrown.param, param)
      assert.match(
        thrown.message,
        new RegExp(`certificate of .*localhost:${port} is not trusted \\(.*NODE_EXTRA_CA_CERTS`),
      )
      return true
    })
    assert.deepEqual(log.lines, [])
  }
})

test('a webhook is sent only to a receiver with a trusted certificate for its name', async (t) => {
  const { port, certificate } = await ownAuthority(t)
  const post = webhookPost({ rules: webhookRules(['localhost', '127.0.0.1']) })
  const send = (host: string) =>
    post(`https://${host}:${port}/hook`, { headers: {}, body: '{}', signal: new AbortController().signal })
  await assert.rejects(send('localhost'), /self-signed certificate/)
  const usual = getCACertificates('default')
  lastFirst(t).after(() => setDefaultCACertificates(usual))
  setDefaultCACertificates([...usual, certificate])
  assert.deepEqual(await send('localhost'), { status: 204 })
  await assert.rejects(send('127.0.0.1'), /does not match certificate/)
})
