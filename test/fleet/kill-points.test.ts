import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createJobIds } from '../../src/jobs/job-id.ts'
import { tempFolder } from '../cleanup.ts'
import { type FailPoint, failPointVariable, serverPoints, workerPoints } from '../fault-kit/fail-points.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { isAlive, type ServerProcess, submit, untilFinal, view } from '../service/server-process.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import { services } from '../services/services.ts'
import { endInPeace, endWell, post, startCrew, untilSays } from './crew.ts'
import { prepareFleet } from './fleet.ts'
import { readStorage } from './truth.ts'

const stepsOfUnknownJobs = new Set<FailPoint>(['manifest looked for', 'status written'])

test('F1: a worker killed after each step of a job is replaced, and the job ends once, with the same picture', async (t) => {
  const [fleet, markers] = [await prepareFleet(t, await services()), tempFolder(t)]
  const crew = await startCrew(fleet, { servers: 1, workers: 0 })
  const [address] = crew.addresses
  const ids: string[] = []
  for (const point of workerPoints) {
    const marker = join(markers, point)
    // storage is asked, and the status written, only for a job that the status store does not know
    if (stepsOfUnknownJobs.has(point)) await fleet.redis.refuse()
    const { id } = await submit(address, { prompt: 'a red apple', seed: 7 })
    ids.push(id)
    await fleet.redis.pass()
    const worker = fleet.worker({ [failPointVariable]: `${point}|${marker}` })
    await worker.address
    const final = await untilFinal(address, id)
    assert.equal(final.status, 'succeeded', `killed after "${point}": ${final.error?.message}`)
    await waitFor(async () => existsSync(marker) && worker.workers().length === 2)
    await endInPeace(worker)
  }
  // the last one may have been told to end before the task came again whose acknowledgement died with its process
  await endWell(fleet, await services(), { ...crew, workers: [fleet.worker()] }, ids)
  const { manifests, pictures } = await readStorage(fleet, await services())
  assert.deepEqual(
    [...manifests.values()].map(({ attempts }) => attempts),
    workerPoints.map(() => 1),
    'a lost attempt is no failed one',
  )
  assert.equal(new Set(pictures.values()).size, 1, 'the same seed, the same picture, whoever made it')
})

/** An idempotency key maps to a different id in the next hour: a test that uses one twice does so within one hour. */
async function awayFromTheHour(): Promise<void> {
  const left = 3_600_000 - (Date.now() % 3_600_000)
  if (left < stretched(60_000)) await sleep(left + 100)
}

test('F2: a server killed before or after its publish leaves one job to the client that sends its request again', async (t) => {
  await awayFromTheHour()
  const all = await services()
  const [fleet, markers] = [await prepareFleet(t, all), tempFolder(t)]
  const waiting = async () => {
    const counts = Object.values(await messagesOf(all.queueUrl, fleet.namespace))
    return counts.reduce((sum, each) => sum + each, 0)
  }
  const body = { prompt: 'a red apple' }
  const keyOf = (point: string) => `kill-point-${point.replaceAll(' ', '-')}`
  const send = (address: string, point: string) => post(address, body, { 'idempotency-key': keyOf(point) })
  for (const [n, point] of serverPoints.entries()) {
    const doomed = fleet.server({ [failPointVariable]: `${point}|${join(markers, point)}` })
    await assert.rejects(send(await doomed.address, point), 'no answer comes')
    assert.equal(await doomed.ended, 'SIGKILL')
    assert.equal(await waiting(), n, 'only the later of the two points has a task in the queue')
  }

  const crew = await startCrew(fleet, { servers: 2, workers: 0 })
  const ids: string[] = []
  for (const point of serverPoints) {
    const [first, second] = await Promise.all(crew.addresses.map((each) => send(each, point)))
    assert.deepEqual([first?.status, second?.status], [202, 202])
    assert.equal(first?.body.id, second?.body.id)
    ids.push(first?.body.id ?? '')
    const known = createJobIds(Buffer.from(fleet.env.PACKSHOT_SECRET ?? ''))
    assert.equal(ids.at(-1), known.fromKey('127.0.0.1', keyOf(point), new Date())[0])
  }
  assert.ok((await waiting()) >= 3, 'the task that the dead server left is there beside those sent again')
  const workers = [fleet.worker(), fleet.worker()]
  for (const id of ids) assert.equal((await untilFinal(crew.addresses[0], id)).status, 'succeeded')
  const late = await send(crew.addresses[1] as string, serverPoints[1])
  assert.deepEqual([late.status, late.body.id, late.body.status], [202, ids[1], 'succeeded'])
  await endWell(fleet, all, { ...crew, workers }, ids)
})

test('F24: a program told twice to end, or killed with its job, leaves the job to another', async (t) => {
  const fleet = await prepareFleet(t, await services(), { PACKSHOT_SHUTDOWN_SECONDS: '600' })
  const crew = await startCrew(fleet, { servers: 1, workers: 0 })
  const [address] = crew.addresses
  const shut = { TEST_GATE: join(tempFolder(t), 'shut') }
  const { id } = await submit(address, { prompt: 'an apple behind a gate', seed: 7 })
  const inWork = async (worker: ServerProcess) => {
    const steps = async () => (await view(address, id)).progress?.step ?? 0
    await worker.address
    await waitFor(async () => (await steps()) > 0)
    return worker.workers().at(-1) as number
  }

  const hurried = fleet.worker(shut)
  const first = await inWork(hurried)
  hurried.process.kill('SIGTERM')
  await untilSays(hurried, 'Packshot is stopping')
  assert.ok(isAlive(first), 'after one signal the job may be finished')
  hurried.process.kill('SIGTERM')
  assert.equal(await hurried.ended, 1)
  await waitFor(async () => !isAlive(first))

  const killed = fleet.worker(shut)
  const second = await inWork(killed)
  killed.process.kill('SIGTERM')
  await untilSays(killed, 'Packshot is stopping')
  killed.process.kill('SIGKILL')
  assert.equal(await killed.ended, 'SIGKILL')
  await waitFor(async () => !isAlive(second))

  const server = fleet.server({ PACKSHOT_DRAIN_SECONDS: '600' })
  const { id: other } = await submit(await server.address, { prompt: 'a red apple', seed: 8 })
  server.process.kill('SIGTERM')
  await untilSays(server, 'Packshot is stopping')
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 1)

  const workers = [fleet.worker()]
  for (const each of [id, other]) assert.equal((await untilFinal(address, each)).status, 'succeeded')
  await endWell(fleet, await services(), { ...crew, workers }, [id, other])
  const { manifests } = await readStorage(fleet, await services())
  assert.deepEqual([manifests.get(id)?.attempts, manifests.get(id)?.request.seed], [1, 7])
})
