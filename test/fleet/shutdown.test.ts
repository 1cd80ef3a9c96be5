import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, tempFolder } from '../cleanup.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { isAlive, type ServerProcess, submit, untilFinal, view } from '../service/server-process.ts'
import { freePort } from '../services/free-port.ts'
import { services } from '../services/services.ts'
import { cancelPatiently, endInPeace, endWell, startCrew, untilSays } from './crew.ts'
import { prepareFleet } from './fleet.ts'

/** F22, F23, F25 and F26: processes that are asked to stop, that crash, or whose engine blocks. */

for (const [grace, seconds] of [
  ['enough time', '60'],
  ['no time', '0'],
] as const) {
  test(`F22: SIGTERM at any point of a job, with ${grace} to finish, loses and counts nothing`, async (t) => {
    const all = await services()
    const fleet = await prepareFleet(t, all)
    const crew = await startCrew(fleet, { servers: 1, workers: 1 }, { PACKSHOT_SHUTDOWN_SECONDS: seconds })
    const [address] = crew.addresses
    const ids: string[] = []
    for (let round = 0; round < 4; round += 1) {
      const passing = fleet.worker({ PACKSHOT_SHUTDOWN_SECONDS: seconds })
      await passing.address
      for (let n = 0; n < 4; n += 1) ids.push((await submit(address, { prompt: '40ms', seed: n })).id)
      await sleep(Math.random() * 400)
      passing.process.kill('SIGTERM')
      assert.equal(await passing.ended, 0, passing.output().slice(-3000))
      assert.equal(isAlive(passing.workers()[0] ?? 0), false)
    }
    for (const id of ids) assert.equal((await untilFinal(address, id)).status, 'succeeded')
    const parts = await fleet.open()
    for (const id of ids) assert.equal((await parts.images.getManifest(id))?.attempts, 1)
    await endWell(fleet, all, crew, ids)
  })
}

test('F22: SIGTERM gives a long job back at once, and the other worker makes it, uncounted', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const env = { PACKSHOT_SHUTDOWN_SECONDS: '0', TEST_GATE: join(tempFolder(t), 'shut') }
  const [server, leaving] = [fleet.server(), fleet.worker(env)]
  const address: string = await server.address
  await leaving.address
  const { id } = await submit(address, { prompt: 'gate' })
  await waitFor(async () => (await view(address, id)).progress !== undefined)
  leaving.process.kill('SIGTERM')
  assert.equal(await leaving.ended, 0)
  assert.match(leaving.output(), /the worker is stopping; the job is redelivered/)
  assert.match((await view(address, id)).status, /queued|running/)
  const other = fleet.worker()
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  const parts = await fleet.open()
  assert.equal((await parts.images.getManifest(id))?.attempts, 1)
  await endWell(fleet, all, { servers: [server], workers: [other], addresses: [address] }, [id])
})

test('F22: a second signal ends a worker at once, and the other worker makes the job', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const env = { PACKSHOT_SHUTDOWN_SECONDS: '600', TEST_GATE: join(tempFolder(t), 'shut') }
  const [server, leaving] = [fleet.server(), fleet.worker(env)]
  const address: string = await server.address
  await leaving.address
  const { id } = await submit(address, { prompt: 'gate' })
  await waitFor(async () => (await view(address, id)).progress !== undefined)
  leaving.process.kill('SIGTERM')
  await untilSays(leaving, 'is stopping')
  leaving.process.kill('SIGTERM')
  assert.equal(await leaving.ended, 1)
  await waitFor(async () => !isAlive(leaving.workers()[0] ?? 0))
  const other = fleet.worker()
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await endWell(fleet, all, { servers: [server], workers: [other], addresses: [address] }, [id])
})

test('F23: servers are replaced one after the other under load, and no request fails', async (t) => {
  const all = await services()
  // the pool has to notice meanwhile
  const drainSeconds = stretched(2)
  const fleet = await prepareFleet(t, all, { PACKSHOT_DRAIN_SECONDS: String(drainSeconds) })
  const first = await startCrew(fleet, { servers: 2, workers: 1 })
  const pool = startPool(first.addresses)
  const [ids, faults, load] = [[] as string[], [] as string[], new AbortController()]
  const client = async (n: number) => {
    for (let round = 0; !load.signal.aborted; round += 1) {
      try {
        const address = pool.next(n + round)
        const { id } = await submit(address, { prompt: '1ms', steps: 1 })
        ids.push(id)
        await view(pool.next(n + round + 1), id)
      } catch (thrown) {
        faults.push(String(thrown))
      }
      await sleep(100 * drainSeconds)
    }
  }
  const clients = [1, 2, 3, 4].map(client)
  let servers = [...first.servers]
  for (const old of first.servers) {
    const fresh = fleet.server()
    pool.add(await fresh.address)
    await sleep(500)
    old.process.kill('SIGTERM')
    assert.equal(await old.ended, 0, old.output().slice(-3000))
    servers = [...servers.filter((each) => each !== old), fresh]
  }
  await waitFor(() => ids.length > 50 || faults.length > 0)
  load.abort()
  await Promise.all(clients)
  await pool.stop()
  assert.deepEqual(faults, [])
  const [one, two] = await Promise.all(servers.map((server) => server.address))
  assert.ok(one !== undefined && two !== undefined && !first.addresses.includes(one))
  const crew = { servers, workers: first.workers, addresses: [one, two] as const }
  await endWell(fleet, all, crew, ids)
})

/** Does what a load balancer does: polls each server's readiness, and sends requests to ready ones only. */
function startPool(addresses: readonly string[]) {
  const [known, ready] = [new Set(addresses), new Set(addresses)]
  let going = true
  const look = async () => {
    while (going) {
      await Promise.all([...known].map(check))
      await sleep(100)
    }
  }
  const check = async (address: string) => {
    const answer = await fetch(`${address}/healthz/ready`).catch(() => undefined)
    if (answer?.status === 200) ready.add(address)
    else ready.delete(address)
    await answer?.body?.cancel()
  }
  const looking = look()
  return {
    add: (address: string) => void known.add(address),
    next: (n: number) => [...ready][n % ready.size] ?? '',
    stop: () => {
      going = false
      return looking
    },
  }
}

/** The environment to load a module that causes an unhandled rejection at SIGUSR2. */
function rejecting(t: Cleanup): Record<string, string> {
  const file = join(tempFolder(t), 'reject.mjs')
  const code = "process.on('SIGUSR2', () => void Promise.reject(new Error('nobody expected this')))"
  writeFileSync(file, `import { isMainThread } from 'node:worker_threads'\nif (isMainThread) ${code}\n`)
  return { NODE_OPTIONS: `--import=${file}` }
}

test('F25: an unhandled rejection in a worker is logged and ends it, and another takes its place', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const gate = join(tempFolder(t), 'gate')
  const [server, worker] = [fleet.server(), fleet.worker({ ...rejecting(t), TEST_GATE: gate })]
  const address: string = await server.address
  await worker.address
  const { id } = await submit(address, { prompt: 'gate' })
  await waitFor(async () => (await view(address, id)).progress !== undefined)
  const pid = worker.workers()[0] ?? 0
  process.kill(pid, 'SIGUSR2')
  await untilSays(worker, 'the worker process exited; restarting it')
  writeFileSync(gate, '')
  assert.match(logLine(worker, pid), /"level":60.*nobody expected this/)
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  assert.equal(worker.workers().length, 2)
  await endWell(fleet, all, { servers: [server], workers: [worker], addresses: [address] }, [id])
})

test('F25: an unhandled rejection ends a server, or a supervisor with its worker, with status 1', async (t) => {
  const fleet = await prepareFleet(t, await services())
  const env = rejecting(t)
  const [server, worker] = [fleet.server(env), fleet.worker(env)]
  await Promise.all([server.address, worker.address])
  for (const each of [server, worker]) {
    each.process.kill('SIGUSR2')
    assert.equal(await each.ended, 1)
    assert.match(logLine(each, each.process.pid ?? 0), /"level":60.*nobody expected this/)
  }
  await waitFor(async () => !isAlive(worker.workers()[0] ?? 0))
})

/** The last line of the log of a process that is about its end. */
function logLine(program: ServerProcess, pid: number): string {
  const lines = program.output().split('\n')
  return (
    lines.findLast((line) => line.includes(`"pid":${pid}`) && line.includes('"level":60')) ?? program.output()
  )
}

test('F26: while the engine blocks its thread the worker answers, is heard of and stays connected', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const port = await freePort()
  const patience = JSON.stringify({ threadTimes: { abortGraceMs: 100 } })
  const env = { PACKSHOT_WORKER_PORT: String(port), PACKSHOT_SHUTDOWN_SECONDS: '0', TEST_PATIENCE: patience }
  const [server, worker] = [fleet.server(), fleet.worker({ ...env, TEST_TELL: '1' })]
  const address: string = await server.address
  await worker.address
  const parts = await fleet.open()
  const { id } = await submit(address, { prompt: 'hang' })
  await untilSays(worker, 'engine begins "hang"')
  const began = performance.now()
  while (performance.now() - began < 3000) {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz/live`, {
      signal: AbortSignal.timeout(60_000),
    })
    assert.equal(answer.status, 200)
    await answer.body?.cancel()
    await sleep(50)
  }
  assert.equal((await parts.status.load()).workers, 1)
  assert.doesNotMatch(worker.output(), /is lost|was lost/)
  // it can be canceled, though its engine hears nothing
  await cancelPatiently(address, id)
  assert.equal((await untilFinal(address, id)).status, 'canceled')
  const next = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  await endInPeace(worker, server)
})
