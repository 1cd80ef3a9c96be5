import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { openBroker } from '../../src/adapters/rabbitmq/broker.ts'
import { openRedis } from '../../src/adapters/redis/connection.ts'
import { openBucket } from '../../src/adapters/s3/bucket.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { keepingLog } from '../quiet-log.ts'
import { type Cleanup, tempFolder } from '../temp-folder.ts'

/** The port of a TLS server whose certificate is signed by nobody. */
async function ownAuthority(t: Cleanup): Promise<number> {
  const folder = tempFolder(t)
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const made = spawnSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject])
  assert.equal(made.status, 0, String(made.stderr))
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) })
  server.on('tlsClientError', () => {})
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => void server.close())
  return (server.address() as AddressInfo).port
}

test('a certificate of an unknown authority is refused without another try, and the remedy is named', async (t) => {
  const port = await ownAuthority(t)
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
