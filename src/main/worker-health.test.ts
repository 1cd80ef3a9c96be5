import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { lastFirst } from '../../test/cleanup.ts'
import { exchange, request } from '../../test/wire/raw.ts'
import { loadConfig } from '../config.ts'
import { startWorkerHealth } from './worker-health.ts'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

test('a worker tells its health to those who ask by address or by an allowed name only', async (t) => {
  const port = await freePort()
  const env = { PACKSHOT_WORKER_PORT: String(port), PACKSHOT_ALLOWED_HOSTS: 'worker.lan' }
  const health = await startWorkerHealth(loadConfig(env))
  lastFirst(t).after(() => health.close())
  const ask = async (target: string, ...headers: string[]) =>
    (await exchange(port, request('GET', target, headers))).status
  for (const host of [`127.0.0.1:${port}`, '10.1.2.3', '[::1]:80', 'localhost', 'worker.lan'])
    assert.equal(await ask('/healthz/live', `Host: ${host}`), 200, host)
  for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example'])
    assert.equal(await ask('/healthz/live', `Host: ${host}`), 421, host)
  assert.equal(await ask('http://evil.example/healthz/live', 'Host: localhost'), 421)
  assert.equal(await ask('/healthz/live', 'Host: localhost', 'Host: evil.example'), 400)
  assert.equal((await exchange(port, 'GET /healthz/live HTTP/1.0\r\n\r\n')).status, 200)
})
