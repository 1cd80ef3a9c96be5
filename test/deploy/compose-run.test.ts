import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { openRedis } from '../../src/adapters/redis/connection.ts'
import { lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { keepingLog } from '../quiet-log.ts'
import { removeNamespace } from '../services/broker-namespace.ts'
import { freePort } from '../services/free-port.ts'
import { areOnPath, ensureInstalled } from '../services/packages.ts'
import { services } from '../services/services.ts'
import { deployed, ensureCompose, makeSecrets, processOf, readComposed } from './compose-files.ts'
import { type Container, imageTree } from './image-tree.ts'

before(ensureCompose)

test('the containers of Compose by hand: a key, the bucket, a server and a worker that make a picture and drain', async (t) => {
  const real = await services()
  const folder = deployed(t)
  makeSecrets(folder)
  const tree = imageTree(t)
  const namespace = `test-${randomBytes(6).toString('hex')}`
  lastFirst(t).after(() => removeNamespace(real.queueUrl, namespace))
  // what secrets.sh made is for services with these names; those of the tests have others
  const secrets = join(tree.writable, 'secrets')
  cpSync(join(folder, 'secrets'), secrets, { recursive: true })
  if (process.getuid?.() === 0) chownSync(secrets, 65_534, 65_534)
  const others = {
    queue_url: real.queueUrl,
    status_url: real.statusUrl,
    s3_user: real.accessKeyId,
    s3_password: real.secretAccessKey,
  }
  for (const [name, value] of Object.entries(others)) {
    rmSync(join(secrets, name))
    writeFileSync(join(secrets, name), `${value}\n`)
  }
  const file = readComposed(folder)
  const [port, workerPort, serverMetrics, workerMetrics] = await Promise.all(
    [1, 2, 3, 4].map(async () => String(await freePort())),
  )
  const places = {
    PACKSHOT_NAMESPACE: namespace,
    PACKSHOT_STORAGE_URL: `s3://compose-${namespace}`,
    PACKSHOT_S3_ENDPOINT: real.s3Endpoint,
    PACKSHOT_METRICS_HOST: '127.0.0.1',
    PACKSHOT_KEYS_FILE: join(tree.writable, 'keys/keys.json'),
    PACKSHOT_DRAIN_SECONDS: '0',
  }
  /** A service of the file, with the files and addresses of this machine. */
  const container = (name: string, env: Record<string, string> = {}, args?: readonly string[]) => {
    const { command, environment, check } = processOf(file, name, secrets, args)
    const here = { ...environment, ...env }
    for (const [variable, value] of Object.entries(places))
      if (variable in here || variable === 'PACKSHOT_KEYS_FILE') here[variable] = value
    return { ...tree.start(command, here), healthy: async () => (await tree.exec(check, here).ended) === 0 }
  }
  const ends = async ({ ended, output }: Container) => assert.equal(await ended, 0, output())

  const keys = container('keys', {}, ['add', 'me'])
  await ends(keys)
  const key = /^pks_\S+$/m.exec(keys.output())?.[0]
  for (const again of ['', ' and again, as every "up" does']) {
    const setup = container('setup')
    await ends(setup)
    assert.match(setup.output(), /is ready\.$/m, again)
  }
  const worker = container('worker', {
    PACKSHOT_WORKER_PORT: workerPort!,
    PACKSHOT_METRICS_PORT: workerMetrics!,
  })
  const server = container('server', { PORT: port!, PACKSHOT_METRICS_PORT: serverMetrics! })
  await waitFor(
    () => worker.output().includes('Packshot is ready') && server.output().includes('Packshot is ready'),
    120_000,
  )
  assert.deepEqual([await worker.healthy(), await server.healthy()], [true, true])

  const address = `http://127.0.0.1:${port}`
  // the name that DOMAIN says is served, behind the proxy of EDGE_SUBNET
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const body = JSON.stringify({ prompt: 'a red apple', steps: 2 })
  assert.equal((await fetch(`${address}/v1/jobs`, { method: 'POST', body })).status, 401)
  const sent = await fetch(`${address}/v1/jobs`, { method: 'POST', headers, body })
  assert.equal(sent.status, 202)
  const { id } = (await sent.json()) as { id: string }
  const job = async () =>
    (await (await fetch(`${address}/v1/jobs/${id}`, { headers })).json()) as { status: string }
  await waitFor(async () => (await job()).status === 'succeeded', 120_000)
  for (const metrics of [serverMetrics, workerMetrics]) {
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text()
    assert.match(text, /^packshot_build_info\{/m)
  }
  const list = container('jobs', {}, ['list'])
  await ends(list)
  assert.match(list.output(), /^0 jobs wait or run/m)
  for (const running of [worker, server]) {
    running.process.kill('SIGTERM')
    await ends(running)
  }
})

test('the command, the secret and the health check of Valkey, by the Redis of this machine', async (t) => {
  await ensureInstalled('Redis 7 or later', () => areOnPath('redis-server', 'redis-cli'))
  const folder = deployed(t)
  makeSecrets(folder)
  const { command = [], healthcheck } = readComposed(folder).services.valkey ?? {}
  const inContainer = '/etc/valkey/packshot.conf'
  const [conf, port] = [join(folder, 'secrets/valkey.conf'), await freePort()]
  assert.deepEqual(command.slice(0, 2), ['valkey-server', inContainer])
  const here = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder]
  const server = spawn('redis-server', [conf, ...command.slice(2), ...here], { stdio: 'ignore' })
  const ended = new Promise((done) => server.once('close', done))
  lastFirst(t).after(async () => {
    server.kill('SIGKILL')
    await ended
  })
  const check = healthcheck?.test?.[1]?.replaceAll('$$', '$').replaceAll(inContainer, conf) ?? ''
  assert.match(check, /^valkey-cli /)
  const asRedis = check.replace('valkey-cli', `redis-cli -p ${port}`)
  const healthy = () => spawnSync('sh', ['-c', asRedis]).status === 0
  await waitFor(healthy)
  const url = readFileSync(join(folder, 'secrets/status_url'), 'utf8').trim()
  const log = keepingLog()
  const redis = await openRedis({
    url: url.replace('valkey:6379', `127.0.0.1:${port}`),
    log,
    startMs: 10_000,
  })
  await redis.close()
})
