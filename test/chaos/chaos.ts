import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, groupOf, tempFolder } from '../cleanup.ts'
import { type Fleet, prepareFleet } from '../fleet/fleet.ts'
import { checkTruth, readStorage } from '../fleet/truth.ts'
import { randomOf } from '../kit/random.ts'
import { startReceiver } from '../kit/receiver.ts'
import { deadline, waitFor } from '../kit/waiting.ts'
import { isAlive } from '../service/server-process.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import type { Services } from '../services/provide.ts'
import { startRabbitmq } from '../services/rabbitmq.ts'
import { startRedis } from '../services/redis.ts'
import { startRgw } from '../services/rgw.ts'
import { followCatalogue } from './catalogue.ts'
import { followJob, type Seen, type World } from './client.ts'
import { type Deaths, plannedDeaths } from './deaths.ts'
import { faultsOn, type Stage } from './faults.ts'
import { keepMember, type Member } from './members.ts'
import { type Counted, metricsFaults, recordMetrics } from './metrics.ts'
import type { Plan } from './schedule.ts'
import { compareWithManifests, type Printed, readOutputs, webhookFaults } from './verdict.ts'

/**
 * A fleet of two servers and three workers over services of its own, while its processes, its services and its
 * connections die or are cut off about once a second. Afterwards: nothing lost, nothing doubled, nothing left over.
 */

export interface ChaosReport {
  /** What should not have happened; a run without is a good one. */
  readonly faults: readonly string[]
  /** By kind; `dies at: ...` are the processes that were killed at this step of the protocol. */
  readonly injected: Readonly<Record<string, number>>
  /** Jobs by their final status. */
  readonly jobs: Readonly<Record<string, number>>
  /** Jobs by the attempt that ended them; 0 is a cancellation by a server. */
  readonly attempts: Readonly<Record<string, number>>
  /** Of the catalogue run. */
  readonly pictures: number
  /** Answers 503 and 429, and connections that gave no answer. */
  readonly refusals: number
  readonly lostConnections: number
  /** From the acceptance to the end. */
  readonly slowest: { readonly id: string; readonly seconds: number }
  /** From the end of the faults until all jobs were final and all queues empty. */
  readonly settleSeconds: number
  readonly seconds: number
  readonly counted: Counted
  readonly printed: Printed
  /** What each process printed, by its name. */
  readonly outputs: Readonly<Record<string, string>>
}

export type Tell = (line: string) => void

/** After the faults, without a single job that ends: longer than the longest pause that a task may rest in the broker. */
const settleLimitMs = 120_000

/** Rejects only when the run itself could not be set up or ended. */
export async function runChaos(t: Cleanup, plan: Plan, tell: Tell = () => {}): Promise<ChaosReport> {
  const cleanup = groupOf(t)
  const started = performance.now()
  const faults = new Map<string, string>()
  const fault = (text: string) => {
    if (faults.has(text)) return
    faults.set(text, `${((performance.now() - zero) / 1000).toFixed(1)} s: ${text}`)
    tell(`FAULT ${faults.get(text)}`)
  }
  let zero = started
  // where the processes could leave files; over services they need neither
  const folder = tempFolder(cleanup)
  const env = {
    TMPDIR: folder,
    PACKSHOT_DATA_DIR: `${folder}/data`,
    PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1',
    PACKSHOT_METRICS_PORT: '0',
    // so workers have several tasks in hand
    PACKSHOT_BATCH: '3',
  }
  const told = new Map<string, number>()
  // it fails with the first message of every third event
  const receiver = await startReceiver(cleanup, (response, _number, { headers }) => {
    const event = String(headers['webhook-id'])
    told.set(event, (told.get(event) ?? 0) + 1)
    response.writeHead(told.get(event) === 1 && told.size % 3 === 0 ? 500 : 204).end()
  })
  const deaths = plannedDeaths(cleanup, plan)
  const { services, stage } = await setUp(cleanup, env, deaths, fault)
  const { fleet, servers, workers } = stage
  const members = [...servers, ...workers]
  await Promise.all(members.map((member) => member.ready()))
  tell(`2 servers and 3 workers are up after ${seconds(started)} s`)

  const recorder = await recordMetrics(members)
  zero = performance.now()
  const healing = Promise.withResolvers<void>()
  const over = new AbortController()
  cleanup.after(() => over.abort())
  let isHopeless = () => false
  const world: World = {
    addresses: () => servers.flatMap((server) => server.address() ?? []),
    fault,
    ended: () => {
      isHopeless = deadline(settleLimitMs)
    },
    healed: healing.promise,
    over: over.signal,
  }
  const clients = plan.jobs.map(async (job, number) => {
    await sleep(job.at)
    const request = { ...job.request, webhook: receiver.url }
    return followJob(world, randomOf(plan.seed + number), { ...job, request })
  })
  const catalogue = sleep(plan.catalogue.at).then(() =>
    followCatalogue(world, randomOf(plan.seed - 1), { ...plan.catalogue, webhook: receiver.url }),
  )
  await unleash(plan, stage, fault, tell)
  const healed = performance.now()
  tell('the faults are over')
  healing.resolve()

  isHopeless = deadline(settleLimitMs)
  const timer = setInterval(() => {
    if (isHopeless()) over.abort()
  }, 1000)
  const [run, ...seen] = await Promise.all([catalogue, ...clients])
  clearInterval(timer)
  await untilEmpty(fleet, services)
  const settleSeconds = seconds(healed)
  const counted = await recorder.stop()
  // first the workers: the events of what they end now are for the servers
  await Promise.all(workers.map((worker) => worker.stop()))
  await untilEmpty(fleet, services)
  const isTold = () => webhookFaults(seen, run, told).length === 0
  // what the broker itself sends on late is in no count of its messages; what is missing is a fault below
  await waitFor(isTold, settleLimitMs).catch(() => {})
  await Promise.all(servers.map((server) => server.stop()))
  tell(`settled after ${settleSeconds} s`)

  for (const text of await leftovers(members, folder)) fault(text)
  const accepted = [...seen.flatMap(({ id }) => id ?? []), ...run.jobs]
  for (const text of await checkTruth(fleet, services, accepted)) if (!isProbe(text)) fault(text)
  const { manifests } = await readStorage(fleet, services)
  for (const text of compareWithManifests(seen, manifests)) fault(text)
  for (const text of webhookFaults(seen, run, told)) fault(text)
  const printed = readOutputs(members)
  for (const text of metricsFaults(counted, manifests, printed)) fault(text)
  for (const line of printed.strange) fault(`a process printed ${line}`)
  return {
    faults: [...faults.values()],
    injected: { ...countBy(plan.faults, ({ kind }) => kind), ...deaths.counts() },
    jobs: countBy(seen, ({ final }) => final?.status ?? 'unfinished'),
    attempts: countBy([...manifests.values()], ({ attempts }) => String(attempts)),
    pictures: run.jobs.length,
    refusals: run.refusals + sumOf(seen, ({ refusals }) => refusals),
    lostConnections: run.lostConnections + sumOf(seen, ({ lostConnections }) => lostConnections),
    slowest: slowestOf(seen),
    settleSeconds,
    seconds: seconds(started),
    counted,
    printed,
    outputs: Object.fromEntries(members.map(({ name, outputs }) => [name, outputs().join('\n=====\n')])),
  }
}

async function setUp(t: Cleanup, env: Record<string, string>, deaths: Deaths, fault: (text: string) => void) {
  const [broker, redis, storage] = await Promise.all([startRabbitmq(t), startRedis(t), startRgw(t)])
  await storage.createBucket('chaos')
  const { accessKeyId, secretAccessKey, region, endpoint: s3Endpoint } = storage
  const access = { accessKeyId, secretAccessKey, region, s3Endpoint, storageUrl: 's3://chaos' }
  const services: Services = { queueUrl: broker.url, statusUrl: redis.url, ...access }
  const fleet = await prepareFleet(t, services, env)
  const members = (role: 'server' | 'worker', count: number): Member[] =>
    Array.from({ length: count }, (_, n) => {
      const name = `${role} ${n + 1}`
      const start = (number: number) => fleet[role](deaths.envOf(role, name, number))
      return keepMember(t, name, start, (number) => deaths.happened(name, number), fault)
    })
  const stage: Stage = {
    fleet,
    broker,
    redis,
    storage,
    servers: members('server', 2),
    workers: members('worker', 3),
  }
  return { services, stage }
}

/** Resolves when all faults have ended and every member is ready again. */
async function unleash(plan: Plan, stage: Stage, fault: (text: string) => void, tell: Tell): Promise<void> {
  const zero = performance.now()
  const faults = faultsOn(stage)
  const running: Promise<void>[] = []
  for (const planned of plan.faults) {
    await sleep(Math.max(0, planned.at - (performance.now() - zero)))
    tell(
      `${((performance.now() - zero) / 1000).toFixed(1)} s: ${planned.kind} ${planned.victim} ${planned.ms} ms`,
    )
    const failed = (thrown: unknown) => fault(`"${planned.kind}" could not be done: ${thrown}`)
    running.push(faults.inject(planned).catch(failed))
  }
  await sleep(Math.max(0, plan.seconds * 1000 - (performance.now() - zero)))
  await Promise.all(running)
  await faults.heal()
  await Promise.all([...stage.servers, ...stage.workers].map((member) => member.ready()))
}

/** Returns silently at the deadline: the checker reports what is left where. */
async function untilEmpty(fleet: Fleet, services: Services): Promise<void> {
  const isOver = deadline(settleLimitMs)
  for (let empty = 0; empty < 3 && !isOver(); ) {
    const found = await messagesOf(services.queueUrl, fleet.namespace)
    empty = Object.keys(found).length === 0 ? empty + 1 : 0
    await sleep(300)
  }
}

/** A process that was killed while it started leaves the object with which it tried the storage; it is swept after an hour. */
function isProbe(text: string): boolean {
  return /^a foreign object is in the storage: probe\//.test(text)
}

async function leftovers(members: readonly Member[], folder: string): Promise<string[]> {
  const isOver = deadline(15_000)
  const alive = () =>
    members.flatMap(({ name, pids }) =>
      pids()
        .filter(isAlive)
        .map((pid) => `${name} ${pid}`),
    )
  while (alive().length > 0 && !isOver()) await sleep(100)
  return [
    ...alive().map((text) => `a process is left over: ${text}`),
    ...readdirSync(folder).map((name) => `a file is left over: ${name}`),
  ]
}

function slowestOf(seen: readonly Seen[]): ChaosReport['slowest'] {
  const times = seen.map(({ id = '', acceptedAt = 0, final }) => ({
    id,
    seconds: (Date.parse(final?.finished_at ?? '') - acceptedAt) / 1000,
  }))
  return times.reduce((most, each) => (each.seconds > most.seconds ? each : most), { id: '', seconds: 0 })
}

function countBy<T>(items: readonly T[], nameOf: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[nameOf(item)] = (counts[nameOf(item)] ?? 0) + 1
  return counts
}

function sumOf<T>(items: readonly T[], numberOf: (item: T) => number): number {
  return items.reduce((sum, item) => sum + numberOf(item), 0)
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 100) / 10
}
