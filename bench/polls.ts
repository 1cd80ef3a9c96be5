import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, tempFolder } from '../test/cleanup.ts'
import { type Fleet, fleetServer, prepareFleet } from '../test/fleet/fleet.ts'
import { ownOptions } from '../test/kit/own-environment.ts'
import {
  type ServerProcess,
  standInServer,
  startServer,
  submit,
  view,
} from '../test/service/server-process.ts'
import { freePort } from '../test/services/free-port.ts'
import { readProfile, shareOf } from './profile.ts'
import { whileServicesRun } from './services.ts'

/**
 * The cost of waiting: how many status requests per second one core of a server answers, with Redis and embedded, and
 * how many a job needs if its client polls as advised, compared with a client that polls every 3 seconds.
 *
 * Last the cost of metrics: two servers in one process, one with them and one without, take turns under the same load. The
 * one with them measures everything ten times, and a tenth of the difference is told.
 *
 *   node bench/polls.ts                 (npm run bench:polls)
 *   node bench/polls.ts --metrics       the cost of metrics alone
 */
const seconds = 6
const connections = 32
const jobs = 300
const fixedPollSeconds = 3
/** Of the comparison: processes, and turns of each server after one that does not count. */
const [processes, rounds, sliceSeconds] = [8, 8, 1]
const repeated = 10
/** The turns with a scrape, which costs 15 to 30 ms: one in 8 s, where Prometheus makes one in 15. */
const scrapedEvery = 8
/** Of the profile: how long it is, and what metrics are made of. */
const profileSeconds = 15
const servedTwice = new URL('served-twice.ts', import.meta.url)
const repeatedMetrics = new URL('repeated-metrics.ts', import.meta.url)
const metricFiles =
  /src\/http\/measure|src\/main\/(measured|metrics|gauges)|adapters\/prometheus|\/prom-client\//

await whileServicesRun(async (t, services) => {
  const quiet = { PACKSHOT_LOG_LEVEL: 'silent' }
  const fleet = await prepareFleet(t, services, quiet)
  if (process.argv.includes('--metrics')) return await costOfMetrics(t, fleet)
  const server = fleet.server()
  const address = await server.address
  const waiting = await submit(address, { prompt: 'no worker yet' })

  console.log('status requests of a waiting job      per s   of server CPU      per CPU second')
  printRate('with Redis', await load(server, `${address}/v1/jobs/${waiting.id}`))
  await fleet.storage.refuse()
  printRate('with Redis, storage cut off', await load(server, `${address}/v1/jobs/${waiting.id}`))
  await fleet.storage.pass()
  await embeddedRate(t, quiet)

  console.log('\nstatus requests per finished job, 300 ms per picture, two workers')
  const workers = [fleet.worker(), fleet.worker()]
  await Promise.all(workers.map((worker) => worker.address))
  // the estimate needs one measurement
  await pollUntilFinal(address, (await submit(address, { prompt: '150ms', steps: 2 })).id)
  const clients: Promise<Wait>[] = []
  for (let n = 0; n < jobs; n += 1) {
    const { id, poll_after_ms } = await submit(address, { prompt: '150ms', steps: 2 })
    clients.push(pollUntilFinal(address, id, poll_after_ms))
    await sleep(60)
  }
  const waits = await Promise.all(clients)
  console.log('wait            jobs   advised   every 3 s      end reported after')
  for (const [from, to] of [
    [0, 3],
    [3, 10],
    [10, 20],
    [20, 60],
    [0, 60],
  ] as const) {
    const some = waits.filter(({ made }) => made >= from && made < to)
    if (some.length === 0) continue
    const meanOf = (value: (wait: Wait) => number) => mean(some.map(value))
    const fixed = meanOf(({ made }) => Math.max(1, Math.ceil(made / fixedPollSeconds)))
    const asked = meanOf((wait) => wait.asked)
    const late = meanOf(({ made, told }) => told - made)
    console.log(
      `${`${from} to ${to} s`.padEnd(14)}${String(some.length).padStart(6)}${asked.toFixed(2).padStart(10)}${fixed.toFixed(2).padStart(12)}${`${late.toFixed(1)} s`.padStart(24)}`,
    )
  }
  for (const { process: child } of [...workers, server]) child.kill('SIGTERM')
  await Promise.all([...workers, server].map(({ ended }) => ended))
  await costOfMetrics(t, fleet)
})

/**
 * Polls per CPU second with metrics, scraped about as often as Prometheus does, and without. Two processes of one program
 * differ by several percent for as long as they live, so both servers are in one (`served-twice.ts`), and because the one
 * that began first may be faster, in every other one the measured one does. They still differ by more than metrics cost,
 * so these are taken ten times (`repeated-metrics.ts`). What the runtime measures of itself, its event loop and garbage
 * collector, is then on both sides.
 */
async function costOfMetrics(t: Cleanup, fleet: Fleet): Promise<void> {
  console.log(
    `\npolls per CPU second      without   metrics ${repeated} times   cost of metrics, of a poll (less than 0.02 is wanted)   of each process`,
  )
  const port = String(await freePort())
  const quiet = { PACKSHOT_LOG_LEVEL: 'silent', PACKSHOT_METRICS_PORT: port }
  const options = [...ownOptions(), `--import=${repeatedMetrics}?times=${repeated}`]
  for (const [what, mode] of [
    ['with Redis', 'fleet'],
    ['embedded', 'embedded'],
  ] as const) {
    const measured: [number, number][] = []
    for (let each = 0; each < processes; each += 1) {
      const env =
        mode === 'fleet' ? { ...fleet.env, ...quiet } : { ...quiet, PACKSHOT_DATA_DIR: tempFolder(t) }
      const server = startServer(t, env, servedTwice, options, [
        mode,
        ...(each % 2 === 0 ? [] : ['measured-first']),
      ])
      await server.address
      const addresses = (/is ready: (.*)/.exec(server.output())?.[1] ?? '').split(' ')
      measured.push(await ratesOfBoth(server, await pollsOf(addresses, mode === 'embedded'), port))
      server.process.kill('SIGKILL')
      await server.ended
    }
    const costs = measured.map(([without, observed]) => (without / observed - 1) / repeated)
    const [without, observed] = ([0, 1] as const).map((index) =>
      mean(measured.map((rates) => rates[index])).toFixed(0),
    ) as [string, string]
    const shown = costs.toSorted((a, b) => a - b).map((cost) => cost.toFixed(4))
    const middle = mean(costs)
    const error = Math.sqrt(mean(costs.map((cost) => (cost - middle) ** 2)) / (processes - 1))
    const told = `${middle.toFixed(4)} +- ${error.toFixed(4)}`
    console.log(
      `${what.padEnd(22)}${without.padStart(11)}${observed.padStart(19)}   ${told.padEnd(55)}${shown.join(' ')}`,
    )
  }
  console.log('\nof the time of a poll, spent on metrics (less than 0.02 is wanted)')
  for (const [what, file, env] of [
    ['with Redis', fleetServer, fleet.env],
    ['embedded', standInServer, { PACKSHOT_DATA_DIR: tempFolder(t) }],
  ] as const) {
    const share = await shareOfMetrics(t, file, {
      ...env,
      PACKSHOT_LOG_LEVEL: 'silent',
      PACKSHOT_METRICS_PORT: port,
    })
    console.log(`${what.padEnd(22)}${share.toFixed(4)}`)
  }
}

/**
 * By a profile of one server under load, scraped as often as Prometheus does, in which two processes that differ do not
 * matter. Half a second for its start is in it.
 */
async function shareOfMetrics(t: Cleanup, file: URL, env: Record<string, string>): Promise<number> {
  const folder = tempFolder(t)
  const server = startServer(t, env, file, [
    '--cpu-prof',
    '--cpu-prof-interval=250',
    `--cpu-prof-dir=${folder}`,
  ])
  const [url = ''] = await pollsOf([await server.address], true)
  const loaded = load(server, url, profileSeconds)
  await (await fetch(`http://127.0.0.1:${env.PACKSHOT_METRICS_PORT}/metrics`)).text()
  await loaded
  server.process.kill('SIGTERM')
  await server.ended
  return shareOf(readProfile(folder, server.process.pid ?? 0), metricFiles)
}

/** Polls per CPU second of two servers of a process, which take turns; the second is scraped. */
async function ratesOfBoth(
  server: ServerProcess,
  urls: readonly string[],
  port: string,
): Promise<[number, number]> {
  const sums = [
    { answers: 0, cpu: 0 },
    { answers: 0, cpu: 0 },
  ]
  for (let round = 0; round <= rounds; round += 1) {
    // each goes first as often as the other; the first round compiles
    for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const loaded = load(server, urls[index] as string, sliceSeconds)
      if (index === 1 && round % scrapedEvery === 0)
        await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
      const { answers, cpuSeconds: cpu } = await loaded
      const counted = sums[index]
      if (round === 0 || counted === undefined) continue
      counted.answers += answers
      counted.cpu += cpu
    }
  }
  const [without, observed] = sums.map(({ answers, cpu }) => answers / cpu)
  return [without ?? 0, observed ?? 0]
}

/** Addresses of a job that waits: the same one in a fleet, and one of each server that is embedded. */
async function pollsOf(addresses: readonly string[], ownQueues: boolean): Promise<string[]> {
  const waiting = async (address: string) => {
    // an embedded one has a worker, which is kept busy
    await submit(address, { prompt: '1000ms', steps: 100 })
    return (await submit(address, { prompt: 'behind a long one' })).id
  }
  const ids = await Promise.all((ownQueues ? addresses : addresses.slice(0, 1)).map(waiting))
  return addresses.map((address, index) => `${address}/v1/jobs/${ids[index] ?? ids[0]}`)
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length
}

async function embeddedRate(t: Cleanup, env: Record<string, string>): Promise<void> {
  const server = startServer(t, { ...env, PACKSHOT_DATA_DIR: tempFolder(t) })
  const address = await server.address
  await submit(address, { prompt: '1000ms', steps: 100 })
  const waiting = await submit(address, { prompt: 'behind a long one' })
  printRate('embedded', await load(server, `${address}/v1/jobs/${waiting.id}`))
  server.process.kill('SIGKILL')
  await server.ended
}

interface Rate {
  readonly answers: number
  /** Answers without a status. */
  readonly refused: number
  readonly wallSeconds: number
  readonly cpuSeconds: number
}

/** Sends requests over kept-alive connections as fast as answers arrive. */
async function load(server: ServerProcess, url: string, lasting = seconds): Promise<Rate> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const end = performance.now() + lasting * 1000
  let [answers, refused] = [0, 0]
  const ask = async () => {
    while (performance.now() < end) {
      await new Promise<void>((resolve, reject) => {
        const sent = request(url, { agent }, (response) => {
          if (response.statusCode !== 200) refused += 1
          response.resume().once('end', resolve)
        })
        sent.once('error', reject).end()
      })
      answers += 1
    }
  }
  const cpu = cpuSeconds(server.process.pid)
  const began = performance.now()
  await Promise.all(Array.from({ length: connections }, ask))
  agent.destroy()
  return {
    answers,
    refused,
    wallSeconds: (performance.now() - began) / 1000,
    cpuSeconds: cpuSeconds(server.process.pid) - cpu,
  }
}

/** User and system time of a process, from Linux's clock ticks (100 per second). */
function cpuSeconds(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function printRate(what: string, { answers, refused, wallSeconds, cpuSeconds: cpu }: Rate): void {
  const share = `${((cpu / wallSeconds) * 100).toFixed(0)} %`
  console.log(
    `${what.padEnd(33)}${(answers / wallSeconds).toFixed(0).padStart(10)}${share.padStart(16)}${(answers / cpu).toFixed(0).padStart(20)}${refused === 0 ? '' : `   (${refused} refused)`}`,
  )
}

interface Wait {
  readonly asked: number
  /** Seconds from acceptance until the picture was stored, and until the client received the final state. */
  readonly made: number
  readonly told: number
}

async function pollUntilFinal(address: string, id: string, firstMs = 500): Promise<Wait> {
  let pauseMs = firstMs
  for (let asked = 1; ; asked += 1) {
    await sleep(pauseMs)
    const job = await view(address, id)
    if (job.finished_at !== undefined) {
      const created = Date.parse(job.created_at)
      const made = (Date.parse(job.finished_at) - created) / 1000
      return { asked, made, told: (Date.now() - created) / 1000 }
    }
    pauseMs = job.poll_after_ms ?? 500
  }
}
