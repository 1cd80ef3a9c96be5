import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { deadline, waitFor } from '../kit/waiting.ts'
import { type ServerProcess, submit, untilFinal, view } from '../service/server-process.ts'
import type { Services } from '../services/provide.ts'
import { type RabbitmqService, shortHeartbeat, startRabbitmq } from '../services/rabbitmq.ts'
import { services } from '../services/services.ts'
import {
  assertRefused,
  cancelPatiently,
  endInPeace,
  endWell,
  post,
  startCrew,
  startLoad,
  submitPatiently,
  untilRefusedAtOnce,
  untilSays,
} from './crew.ts'
import { prepareFleet } from './fleet.ts'
import { readStorage } from './truth.ts'

/** A broker of these tests alone, which they break one after the other. */
let rabbit: RabbitmqService
let all: Services
const ending = lastFirst({ after })
before(async () => {
  rabbit = await startRabbitmq(ending, { config: [shortHeartbeat()] })
  all = { ...(await services()), queueUrl: rabbit.url }
})

const isBack = 'the connection to RabbitMQ is back'
const isLost = 'the connection to RabbitMQ is lost'

async function statusesOf(address: string, ids: readonly string[]): Promise<string[]> {
  return Promise.all(ids.map(async (id) => (await view(address, id)).status))
}

test('F5: a broker restarted under load, gently and with kill -9, loses no accepted job, and the consumers come back', async (t) => {
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 2, workers: 2 })
  const load = startLoad(crew.addresses, '2ms', 100)
  lastFirst(t).after(() => load.stop().catch(() => {}))
  const untilMore = async (count: number) => {
    const goal = load.accepted.length + count
    await waitFor(async () => load.accepted.length >= goal)
  }
  // a program has two connections; one still lost at the next outage would reconnect once for both outages
  const untilAllAreBack = async (outages: number) => {
    for (const program of [...crew.servers, ...crew.workers]) await untilSays(program, isBack, 2 * outages)
  }
  await untilMore(20)
  await rabbit.restart()
  await untilMore(20)
  await untilAllAreBack(1)
  await rabbit.kill()
  await rabbit.start()
  await untilMore(20)
  await untilAllAreBack(2)
  // under load until each worker works again, however late it came back
  const worksAgain = ({ output }: ServerProcess) =>
    output().slice(output().lastIndexOf(isBack)).includes('"job is final"')
  await waitFor(async () => crew.workers.every(worksAgain))
  await load.stop()
  assert.ok(load.refused() > 0, 'the broker was really away')
  await endWell(fleet, all, crew, load.accepted, { others: true })
})

test('F6: while the broker is away a POST is 503 at once, page and statuses are answered, and then it all goes on', async (t) => {
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 1 })
  const [address] = crew.addresses
  const { id: done } = await submit(address, { prompt: 'a red apple', seed: 7 })
  await untilFinal(address, done)
  const slow = []
  for (let seed = 0; seed < 3; seed += 1)
    slow.push((await submit(address, { prompt: 'a slow apple 100ms', steps: 20, seed })).id)
  const [, , canceled] = slow as [string, string, string]

  await rabbit.stop()
  for (let n = 0; n < 3; n += 1) await post(address, { prompt: 'a red apple' }).then(assertRefused)
  await untilRefusedAtOnce(address)
  const home = await fetch(address)
  assert.equal(home.status, 200)
  assert.match(await home.text(), /<form/)
  for (const probe of ['live', 'ready'])
    assert.equal((await fetch(`${address}/healthz/${probe}`)).status, 200)
  const finished = await view(address, done)
  assert.equal(finished.status, 'succeeded')
  const picture = await fetch(`${address}${finished.images[0]?.url}`)
  assert.deepEqual(
    [picture.status, (await picture.arrayBuffer()).byteLength],
    [200, finished.images[0]?.bytes],
  )
  for (const status of await statusesOf(address, slow)) assert.match(status, /queued|running/)
  assert.equal((await cancelPatiently(address, canceled)).status, 'canceled')

  await rabbit.start()
  const late = await submitPatiently(address, { prompt: 'a red apple', seed: 8 })
  await endWell(fleet, all, crew, [done, ...slow, late])
  const { manifests } = await readStorage(fleet, all)
  assert.deepEqual(
    [...slow, late].map((id) => manifests.get(id)?.status),
    ['succeeded', 'succeeded', 'canceled', 'succeeded'],
  )
})

test('F7: a black hole between us and the broker is found by its silence, on server and worker', async (t) => {
  const fleet = await prepareFleet(t, all)
  const shut = { TEST_GATE: join(tempFolder(t), 'shut') }
  const crew = await startCrew(fleet, { servers: 1, workers: 1 }, shut)
  const [address] = crew.addresses
  const [server, cutOff] = [crew.servers[0]!, crew.workers[0]!]
  const { id: slow } = await submit(address, { prompt: 'an apple behind a gate' })
  await waitFor(async () => (await view(address, slow)).status === 'running')
  fleet.broker.blackHole()
  const free = fleet.worker({ ...fleet.direct })
  await post(address, { prompt: 'a red apple' }).then(assertRefused)
  for (const program of [server, cutOff]) {
    await untilSays(program, isLost, 2)
    assert.match(program.output(), /no heartbeat/)
  }
  await untilRefusedAtOnce(address)
  await untilSays(cutOff, 'the task was lost to another worker')
  assert.equal((await untilFinal(address, slow)).status, 'succeeded')
  await endInPeace(free)

  await fleet.broker.pass()
  const late = await submitPatiently(address, { prompt: 'a red apple' })
  assert.equal(
    (await untilFinal(address, late)).status,
    'succeeded',
    'the worker that was cut off works again',
  )
  await endWell(fleet, all, crew, [slow, late], { others: true })
})

test('F8: a broker short of disk takes no job and says so at once; a worker ends the job it has', async (t) => {
  await rabbit.keepStatistics()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 1 })
  const [address] = crew.addresses
  const jobs: string[] = []
  for (let seed = 0; seed < 3; seed += 1)
    jobs.push((await submit(address, { prompt: 'a slow apple 100ms', steps: 30, seed })).id)
  await waitFor(async () => (await view(address, jobs[0] as string)).status === 'running')
  lastFirst(t).after(() => rabbit.setShortOfDisk(false))
  await rabbit.setShortOfDisk(true)
  // the broker reports the alarm when something is published
  await post(address, { prompt: 'a red apple' }).then(assertRefused)
  await untilRefusedAtOnce(address)
  for (const server of crew.servers) await untilSays(server, 'RabbitMQ is short of disk or memory')
  assert.equal((await untilFinal(address, jobs[0] as string)).status, 'succeeded')
  assert.equal((await fetch(address)).status, 200)

  await rabbit.setShortOfDisk(false)
  const late = await submitPatiently(address, { prompt: 'a red apple' })
  // what the worker could not end meanwhile is in no queue until it tries again
  const counts = 'rabbit_amqqueue:info_all(<<"/">>, [messages_unacknowledged])'
  await waitFor(async () => (await rabbit.evaluate(`lists:max([-1 | [N || [{_, N}] <- ${counts}]])`)) === '0')
  await endWell(fleet, all, crew, [...jobs, late], { others: true })
})

test('F30: after an outage all the waiting jobs are made, none counts an attempt, and nobody came back in step', async (t) => {
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 2, workers: 3 })
  const [address] = crew.addresses
  const links = fleet.broker.connections()
  const jobs: string[] = []
  for (let seed = 0; seed < 100; seed += 1)
    jobs.push((await submit(address, { prompt: 'a slow apple 10ms', seed })).id)
  await rabbit.kill()
  /** Connections in each tenth of a second; the proxy accepts each one and finds no broker behind it. */
  const dials: number[] = []
  const isOver = deadline(30_000)
  const [began, first] = [performance.now(), fleet.broker.accepted()]
  for (let before = first; dials.length < 70 || (fleet.broker.accepted() < first + links && !isOver()); ) {
    const from = performance.now()
    await sleep(100)
    const now = fleet.broker.accepted()
    // what came while this process stood still did not come at once
    if (performance.now() - from < 150) dials.push(now - before)
    else dials.push(0)
    before = now
  }
  const perSecond = (fleet.broker.accepted() - first) / ((performance.now() - began) / 1000)
  assert.ok(fleet.broker.accepted() >= first + links, `${links} links hardly dialed`)
  await rabbit.start()
  await endWell(fleet, all, crew, jobs)
  const { manifests } = await readStorage(fleet, all)
  assert.deepEqual(
    jobs.filter((id) => manifests.get(id)?.attempts !== 1 || manifests.get(id)?.status !== 'succeeded'),
    [],
  )
  // the pauses grow to five seconds at most, and each is drawn by chance
  assert.ok(perSecond <= links, `${links} links dialed ${perSecond} times a second`)
  const late = dials.slice(10)
  assert.ok(Math.max(...late) <= Math.max(4, links / 2), `they dialed in step: ${late}`)
})
