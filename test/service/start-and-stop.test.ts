import assert from 'node:assert/strict'
import { cpSync, existsSync, globSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { inTime, waitFor } from '../kit/waiting.ts'
import { isAlive, realServer, startServer, submit, untilFinal, view } from './server-process.ts'

const builtIn = join(import.meta.dirname, '../../models/packshot-mini')

test('SIGTERM lets the job in work end, and the next start makes the rest', async (t) => {
  const env = { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_SHUTDOWN_SECONDS: '60' }
  const first = startServer(t, env)
  const address = await first.address
  const [one, two] = [
    await submit(address, { prompt: '50ms', count: 4 }),
    await submit(address, { prompt: '50ms' }),
  ]
  await waitFor(async () => (await view(address, one.id)).status === 'running')
  first.process.kill('SIGTERM')
  assert.equal(await first.ended, 0)
  assert.equal(isAlive(first.workers()[0] as number), false)

  const second = startServer(t, env)
  const again = await second.address
  const finished = await view(again, one.id)
  assert.deepEqual([finished.status, finished.images.length], ['succeeded', 4])
  assert.equal((await untilFinal(again, two.id)).status, 'succeeded')
})

test('a job that does not end in the time for stopping is made by the next start', async (t) => {
  const env = { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_SHUTDOWN_SECONDS: '0' }
  const first = startServer(t, env)
  const address = await first.address
  const { id } = await submit(address, { prompt: '30ms', steps: 100 })
  await waitFor(async () => ((await view(address, id)).progress?.step ?? 0) > 0)
  first.process.kill('SIGTERM')
  assert.equal(await first.ended, 0)
  const again = await startServer(t, env).address
  assert.equal((await untilFinal(again, id)).status, 'succeeded')
})

test('a second signal ends everything at once', async (t) => {
  const env = { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_SHUTDOWN_SECONDS: '600' }
  const server = startServer(t, env)
  const address = await server.address
  const { id } = await submit(address, { prompt: '1000ms', steps: 100 })
  await waitFor(async () => (await view(address, id)).status === 'running')
  server.process.kill('SIGINT')
  await waitFor(async () => server.output().includes('is stopping'))
  server.process.kill('SIGINT')
  assert.equal(await server.ended, 1)
  await waitFor(async () => !isAlive(server.workers()[0] as number))
})

test('a signal during the start ends it at once, and its worker with it', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) })
  server.address.catch(() => {})
  await waitFor(async () => server.workers().length === 1)
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0, server.output())
  assert.match(server.output(), /is stopping before it was ready/)
  await waitFor(async () => !isAlive(server.workers()[0] as number))
})

for (const ms of [0, 200]) {
  test(`a signal ${ms} ms after the start of a worker in place of one that died does not wait for it`, async (t) => {
    const env = { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_SHUTDOWN_SECONDS: '600' }
    const server = startServer(t, env)
    await server.address
    process.kill(server.workers()[0] as number, 'SIGKILL')
    await waitFor(() => server.workers().length === 2)
    await sleep(ms)
    server.process.kill('SIGTERM')
    assert.equal(await inTime(server.ended, 60_000), 0, server.output())
    assert.equal(isAlive(server.workers()[1] as number), false)
  })
}

test('two servers on one folder: the second refuses, the first goes on', async (t) => {
  const folder = tempFolder(t)
  const first = startServer(t, { PACKSHOT_DATA_DIR: folder })
  const address = await first.address
  const second = startServer(t, { PACKSHOT_DATA_DIR: folder })
  assert.equal(await second.ended, 1)
  assert.match(
    second.output(),
    new RegExp(`The data folder ${folder} is in use by another running Packshot.*PACKSHOT_DATA_DIR`),
  )
  assert.equal((await fetch(`${address}/healthz/ready`)).status, 200)
})

test('a port in use is refused by the name of its variable', async (t) => {
  const other = createServer()
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
  lastFirst(t).after(() => void other.close())
  const { port } = other.address() as { port: number }
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), PORT: String(port) })
  assert.equal(await server.ended, 1)
  assert.match(server.output(), new RegExp(`Port ${port} on 127.0.0.1 is in use .* PORT`))
  assert.doesNotMatch(server.output(), / at .*\.ts:\d+/)
  assert.equal(server.workers().length, 0)
})

test('a data folder that cannot be written is refused by its path and the name of its variable', async (t) => {
  const file = join(tempFolder(t), 'file')
  writeFileSync(file, '')
  const server = startServer(t, { PACKSHOT_DATA_DIR: join(file, 'data') })
  assert.equal(await server.ended, 1)
  assert.match(
    server.output(),
    new RegExp(`The data folder ${file}/data cannot be written .*PACKSHOT_DATA_DIR`),
  )
})

test('faults of the environment are told all at once, and nothing is made', async (t) => {
  const folder = join(tempFolder(t), 'data')
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: folder,
    PACKSHOT_DATADIR: 'x',
    PACKSHOT_QUEUE_MAX: 'many',
  })
  assert.equal(await server.ended, 1)
  assert.match(
    server.output(),
    /PACKSHOT_DATADIR. Did you mean PACKSHOT_DATA_DIR\?\n.*PACKSHOT_QUEUE_MAX must be .* but was "many"/,
  )
  assert.equal(existsSync(folder), false)
})

test('a model that is missing, truncated or no model is refused by its file', async (t) => {
  const models = tempFolder(t)
  const copy = (name: string, damage: (folder: string) => void) => {
    cpSync(builtIn, join(models, name), { recursive: true })
    damage(join(models, name))
    return join(models, name)
  }
  const unet = 'unet/diffusion_pytorch_model.safetensors'
  const cases: [string, RegExp][] = [
    ['no-such-model', /no-such-model/],
    [copy('absent', (folder) => rmSync(join(folder, unet))), /diffusion_pytorch_model\.safetensors/],
    [
      copy('short', (folder) => truncateSync(join(folder, unet), 1_000_000)),
      /diffusion_pytorch_model\.safetensors/,
    ],
    [
      copy('noise', (folder) => writeFileSync(join(folder, unet), Buffer.alloc(1000, 255))),
      /diffusion_pytorch_model\.safetensors/,
    ],
    [copy('config', (folder) => writeFileSync(join(folder, 'unet/config.json'), '{')), /unet\/config\.json/],
  ]
  for (const [model, message] of cases) {
    const folder = tempFolder(t)
    const server = startServer(t, { PACKSHOT_DATA_DIR: folder, PACKSHOT_MODEL: model }, realServer)
    assert.equal(await server.ended, 1, server.output())
    const said = server
      .output()
      .split('\n')
      .filter((line) => line.startsWith('Packshot cannot start'))
    assert.match(said[0] ?? server.output(), message)
    assert.deepEqual(globSync('results/*', { cwd: folder }), [])
  }
})

test('the real engine makes a picture that says how it was made', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) }, realServer)
  const address = await server.address
  const { id } = await submit(address, { prompt: 'a red apple', seed: 7, steps: 4 })
  const { status, images, error } = await untilFinal(address, id)
  assert.equal(status, 'succeeded', error?.message)
  const bytes = Buffer.from(await (await fetch(`${address}${images[0]?.url}`)).arrayBuffer())
  assert.equal(bytes.subarray(1, 4).toString(), 'PNG')
  assert.equal(bytes.readUInt32BE(16), images[0]?.width)
  assert.match(bytes.toString('latin1'), /parameters\0a red apple\nSteps: 4, Sampler: DPM\+\+ 2M, .*Seed: 7,/)
})
