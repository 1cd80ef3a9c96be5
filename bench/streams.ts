import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, lastFirst } from '../test/cleanup.ts'
import { prepareFleet } from '../test/fleet/fleet.ts'
import { type ServerProcess, submit } from '../test/service/server-process.ts'
import { whileServicesRun } from './services.ts'

/**
 * The cost of following: memory and processor time of one server with 5000 open event streams of 300 jobs, compared with
 * one stream per job, while the jobs wait and while they are made; and what storage is asked meanwhile. The clients are
 * processes of their own.
 *
 *   node bench/streams.ts      (npm run bench:streams)
 */
const streams = 5000
const jobs = 300
const seconds = 10
const clientProcesses = 2

interface Work {
  readonly port: number
  readonly ids: readonly string[]
}

/** How many streams of a client have begun, and how many have ended with `done`. */
interface Counts {
  readonly begun: number
  readonly done: number
}

if (process.argv[2] === '--client') followAll()
else await whileServicesRun(measure)

async function measure(t: Cleanup, services: Parameters<typeof prepareFleet>[1]): Promise<void> {
  checkOpenFiles()
  const fleet = await prepareFleet(t, services, { PACKSHOT_LOG_LEVEL: 'silent' })
  const most = String(2 * streams)
  const server = fleet.server({
    PACKSHOT_CONNECTIONS: most,
    PACKSHOT_CLIENT_CONNECTIONS: most,
    PACKSHOT_EVENT_STREAMS: most,
    PACKSHOT_CALLER_EVENT_STREAMS: most,
  })
  const address = await server.address
  const ids: string[] = []
  for (let n = 0; n < jobs; n += 1) ids.push((await submit(address, { prompt: '20ms' })).id)

  console.log('streams                      memory of the server   of a core   storage')
  await row('none, jobs wait', server, fleet.storage.carried)
  const clients = startClients(t, Number(new URL(address).port))
  clients.open(ids)
  await clients.until(({ begun }) => begun === jobs)
  await row(`${jobs}, jobs wait`, server, fleet.storage.carried)
  clients.open(Array.from({ length: streams - jobs }, (_, n) => ids[n % jobs] as string))
  await clients.until(({ begun }) => begun === streams)
  await row(`${streams}, jobs wait`, server, fleet.storage.carried)

  const [cpu, began] = [cpuSeconds(server), performance.now()]
  const workers = [fleet.worker(), fleet.worker()]
  await Promise.all(workers.map((worker) => worker.address))
  await clients.until(({ done }) => done === streams)
  const wall = (performance.now() - began) / 1000
  const used = cpuSeconds(server) - cpu
  console.log(
    `${jobs} jobs made in ${wall.toFixed(1)} s: ${used.toFixed(1)} s of processor time, ` +
      `${((used / jobs) * 1000).toFixed(0)} ms per job, ${((used / streams) * 1e6).toFixed(0)} µs per stream`,
  )
}

async function row(what: string, server: ServerProcess, carried: () => number): Promise<void> {
  await sleep(1000)
  const [cpu, bytes] = [cpuSeconds(server), carried()]
  await sleep(seconds * 1000)
  const share = ((cpuSeconds(server) - cpu) / seconds) * 100
  const memory = `${memoryMiB(server).toFixed(0)} MiB`
  console.log(
    `${what.padEnd(29)}${memory.padStart(20)}${`${share.toFixed(1)} %`.padStart(12)}${`${carried() - bytes} bytes`.padStart(10)}`,
  )
}

function startClients(t: Cleanup, port: number) {
  const counts: Counts[] = []
  const changed = new EventTarget()
  const children = Array.from({ length: clientProcesses }, (_, index) => {
    const child = fork(import.meta.filename, ['--client'])
    child.on('message', (message: Counts) => {
      counts[index] = message
      changed.dispatchEvent(new Event('counts'))
    })
    lastFirst(t).after(() => void child.kill('SIGKILL'))
    return child
  })
  const sum = (): Counts => ({
    begun: counts.reduce((all, { begun }) => all + begun, 0),
    done: counts.reduce((all, { done }) => all + done, 0),
  })
  return {
    open(ids: readonly string[]) {
      for (const [index, child] of children.entries()) {
        child.send({ port, ids: ids.filter((_, n) => n % clientProcesses === index) } satisfies Work)
      }
    },
    async until(done: (counts: Counts) => boolean) {
      while (!done(sum()))
        await new Promise((resolve) => changed.addEventListener('counts', resolve, { once: true }))
    },
  }
}

/** The client: opens streams a few at a time, and reports how many began and were done. */
function followAll(): void {
  let [begun, done] = [0, 0]
  const follow = (port: number, id: string) =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let tail = ''
      let seen = false
      socket.on('data', (chunk) => {
        tail = (tail + chunk).slice(-8192)
        if (!seen) {
          if (!tail.startsWith('HTTP/1.1 200')) reject(new Error(tail))
          seen = true
          begun += 1
          resolve()
        }
        if (!tail.includes('event: done')) return
        done += 1
        socket.destroy()
      })
      socket.on('error', reject)
      socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    })
  process.on('message', async ({ port, ids }: Work) => {
    for (let start = 0; start < ids.length; start += 50) {
      await Promise.all(ids.slice(start, start + 50).map((id) => follow(port, id)))
    }
  })
  setInterval(() => process.send?.({ begun, done } satisfies Counts), 200)
}

/** Node raises its own limit to the hard one. */
function checkOpenFiles(): void {
  const hard = Number(/Max open files +\d+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
  const needed = streams + 500
  if (hard < needed)
    throw new Error(`This needs ${needed} open files, ${hard} are allowed: raise \`ulimit -Hn\`.`)
}

function memoryMiB({ process: { pid } }: ServerProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** User and system time of a process, from Linux's clock ticks (100 per second). */
function cpuSeconds({ process: { pid } }: ServerProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}
