import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isGone, jobInWork, startCommand } from '../service/npm-process.ts'
import { view } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { prepareFleet } from './fleet.ts'

test('SIGTERM to the npm of a worker, then of a server: the job in work ends first, and both report success', async (t) => {
  const { env } = await prepareFleet(t, await services())
  const [server, worker] = await Promise.all([
    startCommand(t, ['npm', 'run', 'server'], { ...env, PACKSHOT_DRAIN_SECONDS: '1' }),
    startCommand(t, ['npm', 'run', 'worker'], env),
  ])
  const id = await jobInWork(server.address)
  worker.process.kill('SIGTERM')
  assert.equal(await worker.ended, 0, worker.output())
  assert.match(worker.output(), /is stopping: the current job may finish/)
  assert.equal((await view(server.address, id)).status, 'succeeded')
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0, server.output())
  assert.match(server.output(), /is stopping/)
  assert.ok(await isGone(server.address))
})
