import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Connection } from 'rabbitmq-client'
import type { Task } from '../../src/jobs/job.ts'
import { createJobIds } from '../../src/jobs/job-id.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { someRequest, someTask } from '../contract/jobs.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import type { Services } from '../services/provide.ts'
import { type RabbitmqService, shortHeartbeat, startRabbitmq } from '../services/rabbitmq.ts'
import { services } from '../services/services.ts'
import {
  type Answer,
  assertRefused,
  endInPeace,
  endWell,
  post,
  startCrew,
  submitPatiently,
  untilSays,
} from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'
import { readStorage } from './truth.ts'

/** A broker with little patience, for the tests that wear it out. */
let rabbit: RabbitmqService
let impatient: Services
const ending = lastFirst({ after })
before(async () => {
  rabbit = await startRabbitmq(ending, { config: [shortHeartbeat()] })
  impatient = { ...(await services()), queueUrl: rabbit.url }
})

/** A task as a server of this fleet makes it. */
function taskFor(fleet: Fleet, prompt: string, seed: number): Task {
  const ids = createJobIds(Buffer.from(fleet.env.PACKSHOT_SECRET ?? ''))
  return someTask({ id: ids.issue(new Date()), request: someRequest({ prompt, seed }) })
}

/** A client of the broker that is none of ours. */
async function stranger(t: Cleanup, all: Services) {
  const connection = new Connection(all.queueUrl)
  connection.on('error', () => {})
  const channel = await connection.acquire()
  lastFirst(t).after(async () => {
    await channel.close()
    await connection.close()
  })
  return channel
}

test('F3: tasks that are published and delivered twice have one result each', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 0 })
  const { queue } = await fleet.open()
  const tasks = Array.from({ length: 12 }, (_, seed) => taskFor(fleet, 'a slow apple 20ms', seed))
  for (const task of tasks) for (const _ of [1, 2]) await queue.publish(task)
  // the two copies of a task are adjacent in the queue: two workers get them at the same moment
  const workers = [fleet.worker(), fleet.worker()]
  const ids = tasks.map(({ id }) => id)
  await endWell(fleet, all, { ...crew, workers }, ids)
  const { manifests } = await readStorage(fleet, all)
  assert.deepEqual(
    ids.map((id) => [manifests.get(id)?.status, manifests.get(id)?.images[0]?.seed]),
    tasks.map((_, seed) => ['succeeded', seed]),
  )
  const said = workers.map(({ output }) => output().split('"job is final"').length - 1)
  assert.equal((said[0] ?? 0) + (said[1] ?? 0), 24, 'both deliveries of a task came to their end')
})

test('F4: what a worker does that was frozen for longer than the broker waits is harmless, and it works on', async (t) => {
  const fleet = await prepareFleet(t, impatient)
  const crew = await startCrew(fleet, { servers: 1, workers: 0 })
  const [address] = crew.addresses
  const ids: string[] = []
  // frozen while it makes the picture; then while the picture is on its way to the storage
  for (const phase of ['making', 'storing']) {
    const frozen = fleet.worker()
    await frozen.address
    const pid = frozen.workers().at(-1) as number
    if (phase === 'storing') fleet.storage.delay(400)
    const { id } = await submit(address, { prompt: 'a slow apple 100ms', steps: 15, seed: 7 })
    ids.push(id)
    if (phase === 'making') await waitFor(async () => ((await view(address, id)).progress?.step ?? 0) > 0)
    else await waitFor(async () => (await readStorage(fleet, impatient)).pictures.has(`${id}/0.png`))
    process.kill(pid, 'SIGSTOP')
    const other = fleet.worker({ ...fleet.direct })
    assert.equal((await untilFinal(address, id)).status, 'succeeded', phase)
    await endInPeace(other)
    const { manifests } = await readStorage(fleet, impatient)
    process.kill(pid, 'SIGCONT')
    await untilSays(frozen, 'the connection to RabbitMQ is back', 2)
    const { id: next } = await submit(address, { prompt: 'a red apple', seed: 8 })
    assert.equal((await untilFinal(address, next)).status, 'succeeded', `${phase}: it works again`)
    ids.push(next)
    await endInPeace(frozen)
    assert.equal(frozen.workers().length, 1, 'the same process')
    await fleet.storage.pass()
    assert.deepEqual((await readStorage(fleet, impatient)).manifests.get(id), manifests.get(id))
  }
  await endWell(fleet, impatient, crew, ids)
})

test('F9: of a flood only as much is accepted as the queue holds; the rest is told when to come back', async (t) => {
  const all = await services()
  const max = 5
  const fleet = await prepareFleet(t, all, { PACKSHOT_QUEUE_MAX: String(max) })
  const crew = await startCrew(fleet, { servers: 2, workers: 0 })
  const answers: Answer[] = []
  const atOnce = 8
  const client = async (n: number) => {
    for (let seed = 0; seed < 15; seed += 1) {
      const address = crew.addresses[n % 2] as string
      answers.push(await post(address, { prompt: 'a slow apple 20ms', seed: n * 100 + seed }))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, (_, n) => client(n)))
  const ids = answers.filter(({ status }) => status === 202).map(({ body }) => body.id)
  for (const answer of answers) if (answer.status !== 202) assertRefused(answer, 'queue_full')
  // a quorum queue checks its limit before it counts messages in flight
  t.diagnostic(`${ids.length} of ${answers.length} accepted with a bound of ${max}, ${atOnce} clients`)
  assert.ok(ids.length >= max && ids.length <= max + atOnce, `${ids.length} were accepted`)

  const workers = [fleet.worker(), fleet.worker()]
  ids.push(await submitWhenThereIsRoom(crew.addresses[0]))
  await endWell(fleet, all, { ...crew, workers }, ids)
})

async function submitWhenThereIsRoom(address: string): Promise<string> {
  let id = ''
  await waitFor(async () => {
    const answer = await post(address, { prompt: 'a red apple' })
    if (answer.status === 202) id = answer.body.id
    else assertRefused(answer, 'queue_full')
    return id !== ''
  })
  return id
}

test('F10: queues that are deleted under servers and workers are made again, and the consumers are back', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 2 })
  const [address] = crew.addresses
  const { id: before } = await submit(address, { prompt: 'a red apple' })
  await untilFinal(address, before)
  await waitFor(async () => Object.keys(await messagesOf(all.queueUrl, fleet.namespace)).length === 0)
  const channel = await stranger(t, all)
  const names = ['tasks.interactive.v1', 'tasks.interactive.returned.v1', 'events.status.v1', 'tasks.dead.v1']
  for (const name of names) {
    const { messageCount } = await channel.queueDelete({ queue: `${fleet.namespace}.${name}` })
    assert.equal(messageCount, 0)
  }
  const ids = [before]
  for (let seed = 0; seed < 8; seed += 1)
    ids.push(await submitPatiently(address, { prompt: 'a slow apple 50ms', seed }))
  for (const worker of crew.workers) await untilSays(worker, 'the task consumer lost its channel')
  for (const server of crew.servers) await untilSays(server, 'the event consumer lost its channel')
  await endWell(fleet, all, crew, ids)
})

test('F10: a worker slower than the consumer timeout loses its task and goes on; a job that is always too slow fails', async (t) => {
  // a channel keeps the values that it found when it was opened
  const set = (name: string, ms: number) => rabbit.evaluate(`application:set_env(rabbit, ${name}, ${ms})`)
  const usual = () => set('consumer_timeout', 1_800_000)
  const fleet = await prepareFleet(t, impatient)
  lastFirst(t).after(usual)
  await set('channel_tick_interval', 300)
  await set('consumer_timeout', 1500)
  const crew = await startCrew(fleet, { servers: 1, workers: 1 })
  const [address] = crew.addresses
  const [worker] = crew.workers
  assert.ok(worker)
  await usual()
  const { id: once } = await submit(address, { prompt: 'a slow apple 200ms', steps: 15 })
  assert.equal((await untilFinal(address, once)).status, 'succeeded')
  await untilSays(worker, 'the task was lost to another worker')

  await set('consumer_timeout', stretched(1000))
  fleet.broker.cut()
  const always = await submitPatiently(address, { prompt: 'a slow apple 500ms', steps: 30 })
  const behind = await submitPatiently(address, { prompt: 'a red apple' })
  const failed = await untilFinal(address, always)
  assert.deepEqual([failed.status, failed.error?.code], ['failed', 'generation_failed'])
  assert.match(failed.error?.message ?? '', /5 times/)
  assert.equal((await untilFinal(address, behind)).status, 'succeeded')
  await untilSays(worker, 'RabbitMQ closed a channel')
  await endWell(fleet, impatient, crew, [once, always, behind])
})

test('F33: with the exchange of dead letters gone they stay in their queue, and come when it is there again', async (t) => {
  // the broker retries an undeliverable dead letter after ten seconds here
  await rabbit.evaluate('application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000)')
  // the letters are in its statistics only
  await rabbit.keepStatistics()
  const fleet = await prepareFleet(t, impatient)
  const crew = await startCrew(fleet, { servers: 1, workers: 0 })
  const [address] = crew.addresses
  const channel = await stranger(t, impatient)
  await channel.exchangeDelete({ exchange: `${fleet.namespace}.dlx` })
  const { id } = await submit(address, { prompt: 'a red apple' })
  const [queue = ''] = Object.keys(await messagesOf(impatient.queueUrl, fleet.namespace))
  // returned to the queue until the broker itself gives up: its limit is 10
  for (let deliveries = 1; deliveries <= 11; deliveries += 1) {
    await waitFor(async () => {
      const message = await channel.basicGet({ queue })
      if (message !== undefined) channel.basicNack({ deliveryTag: message.deliveryTag, requeue: true })
      return message !== undefined
    })
  }
  const lettersOf = async () => {
    // the sum includes dead letters; ready counts only what consumers could get
    const counts = 'rabbit_amqqueue:info_all(<<"/">>, [name, messages, messages_ready])'
    const isQueue = `{name, {resource, _, _, <<"${queue}">>}}, {messages, Sum}, {messages_ready, Ready}`
    const found = `[Sum - Ready || [${isQueue}] <- ${counts}]`
    return Number(await rabbit.evaluate(`case ${found} of [Letters] -> Letters; _ -> missing end`))
  }
  await waitFor(async () => (await lettersOf()) === 1)
  assert.equal(await channel.basicGet({ queue }), undefined, 'nobody gets it any more')
  assert.equal((await view(address, id)).status, 'queued')
  assert.equal((await readStorage(fleet, impatient)).manifests.size, 0)

  // any process that starts or reconnects to the broker redeclares what is missing
  const workers = [fleet.worker()]
  const failed = await untilFinal(address, id)
  assert.deepEqual([failed.status, failed.error?.code], ['failed', 'generation_failed'])
  await waitFor(async () => (await lettersOf()) === 0)
  await endWell(fleet, impatient, { ...crew, workers }, [id], { parked: 1 })
  const left = await messagesOf(impatient.queueUrl, fleet.namespace)
  assert.deepEqual(left, { [`${fleet.namespace}.parked.v1`]: 1 })
})
