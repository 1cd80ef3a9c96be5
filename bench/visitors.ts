import { fork } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { type Cleanup, lastFirst } from '../test/cleanup.ts'
import { type Front, proxyName, startNginx } from '../test/deploy/proxies.ts'
import { prepareFleet } from '../test/fleet/fleet.ts'
import type { ServerProcess } from '../test/service/server-process.ts'
import { freePort } from '../test/services/free-port.ts'
import type { Services } from '../test/services/provide.ts'
import { whileServicesRun } from './services.ts'

/**
 * What happens when too many come: visitors with a TLS connection and an address of their own, all through nginx as it is
 * shipped, in front of two servers. Each opens the page and asks for a picture; then each follows a job by events. The
 * queue and the streams are bounded far below the number of visitors. Each must have an answer: what it asked for, or a
 * refusal that says when to come again. Prints the answers, and what connections cost nginx and the servers.
 *
 *   node bench/visitors.ts [VISITORS]      (npm run bench:visitors)
 */
const clientProcesses = 2
/** Of one server. */
const limits = { PACKSHOT_QUEUE_MAX: '300', PACKSHOT_CONNECTIONS: '2048', PACKSHOT_EVENT_STREAMS: '500' }
/** Connections that one client process is opening at a time. */
const openedAtOnce = 50
const longestWaitMs = 60_000

/** What the visitors of a client process are to do, each one once. */
interface Work {
  readonly path: string
  readonly method: 'GET' | 'POST'
  /** Undefined: the answer is read to its end; else up to this text, and goes on. */
  readonly until?: string
}

/** How often each answer came, such as `200` or `503 queue_full Retry-After`. */
type Answers = Record<string, number>

interface Task {
  readonly port: number
  readonly authority: string
  readonly first: number
  readonly count: number
}

if (process.argv[2] === '--client') beVisitors(JSON.parse(process.argv[3] ?? '') as Task)
else await whileServicesRun(measure)

async function measure(t: Cleanup, services: Services): Promise<void> {
  const visitors = Number(process.argv[2] ?? mostVisitors())
  const ports = [await freePort(), await freePort()] as const
  const fleet = await prepareFleet(t, services, {
    ...limits,
    PACKSHOT_LOG_LEVEL: 'silent',
    PACKSHOT_TRUSTED_PROXIES: '127.0.0.1',
    PACKSHOT_ALLOWED_HOSTS: proxyName,
  })
  const servers = ports.map((port) => fleet.server({ PORT: String(port), PACKSHOT_JOBS_PER_MINUTE: '120' }))
  const worker = fleet.worker()
  await Promise.all([...servers, worker].map(({ address }) => address))
  const nginx = await startNginx(t, { ports, connections: openFiles() })
  const pids = () => ({ nginx: nginxPids(nginx), servers: servers.map(({ process: { pid } }) => pid ?? 0) })
  const clients = startClients(t, nginx, visitors)
  const round = async (what: string, work?: Work) => {
    const before = pids()
    const cpu = [before.nginx, before.servers].map(cpuSeconds)
    const began = performance.now()
    const answers = await clients.each(work)
    const seconds = (performance.now() - began) / 1000
    const [proxyCpu = 0, serverCpu = 0] = [before.nginx, before.servers].map(
      (each, index) => cpuSeconds(each) - (cpu[index] ?? 0),
    )
    console.log(`${what}, in ${seconds.toFixed(0)} s`)
    for (const [answer, count] of Object.entries(answers).sort())
      console.log(`${String(count).padStart(10)}  ${answer}`)
    const each = (used: number) => `${((used / visitors) * 1e3).toFixed(2)} ms`
    console.log(
      `            nginx ${mib(before.nginx)}, ${each(proxyCpu)} for each; servers ${mib(before.servers)}, ${each(serverCpu)} for each`,
    )
  }
  console.log(`before: nginx ${mib(pids().nginx)}, servers ${mib(pids().servers)}`)
  await round(`${visitors} visitors connect`)
  await round('each opens the page', { method: 'GET', path: '/' })
  await round('each asks for a picture', { method: 'POST', path: '/v1/jobs' })
  await round('each opens the page again', { method: 'GET', path: '/' })
  const [first] = servers
  const waiting = await postGated(first as ServerProcess)
  await round('each follows a job by events', {
    method: 'GET',
    path: `/v1/jobs/${waiting}/events`,
    until: 'data: ',
  })
  await round('the others open the page', { method: 'GET', path: '/' })
}

async function postGated(server: ServerProcess): Promise<string> {
  for (;;) {
    const response = await fetch(`${await server.address}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: '60000ms', priority: 'batch' }),
    })
    if (response.status === 202) return ((await response.json()) as { id: string }).id
    await response.text()
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

function startClients(t: Cleanup, nginx: Front, visitors: number) {
  const count = Math.floor(visitors / clientProcesses)
  const children = Array.from({ length: clientProcesses }, (_, index) => {
    const task: Task = { port: nginx.httpsPort, authority: nginx.authority, first: index * count, count }
    const child = fork(import.meta.filename, ['--client', JSON.stringify(task)])
    lastFirst(t).after(() => void child.kill('SIGKILL'))
    return child
  })
  return {
    async each(work: Work | undefined): Promise<Answers> {
      const all = await Promise.all(
        children.map(
          (child) =>
            new Promise<Answers>((resolve, reject) => {
              child.once('message', (answers: Answers) => resolve(answers))
              child.once('exit', () => reject(new Error('a client process ended')))
              child.send({ work })
            }),
        ),
      )
      const sum: Answers = {}
      for (const answers of all)
        for (const [key, n] of Object.entries(answers)) sum[key] = (sum[key] ?? 0) + n
      return sum
    },
  }
}

/** A client process: keeps one connection for each visitor, opened again if nginx closed it. */
function beVisitors({ port, authority, first, count }: Task): void {
  const sockets: (TLSSocket | undefined)[] = Array.from({ length: count })
  /** Whose connection has an event stream on it. */
  const following = new Set<number>()
  const connected = (index: number) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const present = sockets[index]
      if (present !== undefined && !present.destroyed && present.readable) return resolve(present)
      const visitor = first + index
      const localAddress = `127.1.${Math.floor(visitor / 250)}.${1 + (visitor % 250)}`
      const options = { host: '127.0.0.1', port, localAddress, servername: proxyName, ca: authority }
      const socket = connectTls(options as ConnectionOptions, () => resolve(socket))
      sockets[index] = socket
      socket.on('error', reject)
      socket.resume()
    })
  const ask = async (index: number, work: Work | undefined): Promise<string> => {
    const socket = await connected(index)
    if (work === undefined) return 'connected'
    if (following.has(index)) return 'follows'
    const body = work.method === 'POST' ? JSON.stringify({ prompt: 'a red apple 200ms', steps: 2 }) : ''
    const type = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    return new Promise((resolve) => {
      let text = ''
      const onData = (chunk: Buffer) => {
        text += chunk
        const [head = '', rest] = text.split('\r\n\r\n', 2)
        if (rest === undefined) return
        const answered = Number(head.split(' ')[1])
        const length = /content-length: (\d+)/i.exec(head)?.[1]
        const isEnd =
          length === undefined ? text.endsWith('0\r\n\r\n') : Buffer.byteLength(rest) >= Number(length)
        if (work.until !== undefined && answered === 200 && text.includes(work.until)) {
          following.add(index)
          end(head, text)
        } else if (isEnd) end(head, text)
      }
      const onClose = () => end('closed 000', text)
      const end = (head: string, all: string) => {
        clearTimeout(timer)
        socket.off('data', onData).off('close', onClose)
        const code = /"code":"(\w+)"/.exec(all)?.[1] ?? ''
        const again = /^retry-after:/im.test(head) ? 'Retry-After' : ''
        resolve([head.split(' ')[1], code, again].filter((word) => word !== '').join(' '))
      }
      const timer = setTimeout(() => end('none: no answer', text), longestWaitMs)
      socket.on('data', onData).once('close', onClose)
      socket.write(`${work.method} ${work.path} HTTP/1.1\r\nHost: ${proxyName}:${port}\r\n${type}\r\n${body}`)
    })
  }
  process.on('message', async ({ work }: { work?: Work }) => {
    const answers: Answers = {}
    let next = 0
    const run = async () => {
      while (next < count) {
        const index = next
        next += 1
        const answer = await ask(index, work).catch(
          (thrown: { code?: string }) => `no connection: ${thrown.code}`,
        )
        answers[answer] = (answers[answer] ?? 0) + 1
      }
    }
    await Promise.all(Array.from({ length: openedAtOnce }, run))
    process.send?.(answers)
  })
}

/** Of a process; Node raises its own limit to the hard one. */
function openFiles(): number {
  const hard = /Max open files +\d+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return Math.min(Number(hard ?? 1024), 100_000)
}

/** nginx has two processes and may need two connections for each visitor. */
function mostVisitors(): number {
  return Math.min(20_000, Math.floor(openFiles() / 2))
}

/** The processes that serve. */
function nginxPids({ pid }: Front): number[] {
  const parentOf = (name: string) => {
    try {
      return Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1])
    } catch {
      return 0
    }
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid())
    .map(Number)
}

function mib(pids: readonly number[]): string {
  const each = pids.map((pid) => /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  return `${each.map((kib) => (Number(kib ?? 0) / 1024).toFixed(0)).join(' + ')} MiB`
}

/** User and system time, from Linux's clock ticks (100 per second). */
function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) / 100
  }, 0)
}
