import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { realServer, startServer, untilFinal } from '../service/server-process.ts'

/** The service under attack, and what it costs. */

interface Cost {
  /** Bytes that attackers sent. */
  readonly sent: number
  /** Processor time of server and worker together. */
  readonly cpuSeconds: number
  /** Resident memory. */
  readonly serverBytes: number
  readonly workerBytes: number
}

export interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly text: string
  readonly headers: Headers
}

export interface Target {
  readonly address: string
  readonly port: number
  readonly dataDir: string
  cost(): Cost
  /** A request from a client's own address. */
  ask(path: string, options?: RequestInit & { readonly from?: string }): Promise<Answer>
  /** `POST /v1/jobs` */
  job(
    body: object,
    options?: { readonly from?: string; readonly headers?: Record<string, string> },
  ): Promise<Answer>
  upload(bytes: Uint8Array, type?: string, from?: string): Promise<Answer>
  /** A connection that sends this text. */
  socket(text: string): Socket
  /** Resolves with the status that the job ends with. */
  end(id: string): Promise<string>
}

/** Needs Linux, where processes tell what they take. */
export async function openTarget(t: Cleanup): Promise<Target> {
  const dataDir = tempFolder(t)
  const usual = [
    'JOBS_PER_MINUTE',
    'REQUESTS_PER_MINUTE',
    'UNITS_PER_HOUR',
    'CALLER_JOBS',
    'CALLER_UNITS',
    'FREE_MB',
  ]
  const server = startServer(
    t,
    {
      ...Object.fromEntries(usual.map((name) => [`PACKSHOT_${name}`, ''])),
      PACKSHOT_DATA_DIR: dataDir,
      PACKSHOT_TRUSTED_PROXIES: '127.0.0.1',
      // a tenth of the default, which is reached in seconds
      PACKSHOT_CALLER_UPLOADS_MB: '200',
    },
    realServer,
  )
  const address = await server.address
  const port = Number(new URL(address).port)
  let sent = 0
  const ask: Target['ask'] = async (path, { from = '192.0.2.1', ...options } = {}) => {
    const { body } = options
    sent += 200 + (typeof body === 'string' ? body.length : body instanceof Uint8Array ? body.byteLength : 0)
    const headers = { 'x-forwarded-for': from, ...(options.headers as Record<string, string> | undefined) }
    const answer = await fetch(`${address}${path}`, { ...options, headers })
    const text = await answer.text()
    return { status: answer.status, code: codeOf(text), text, headers: answer.headers }
  }
  return {
    address,
    port,
    dataDir,
    ask,
    cost: () => {
      const pids = [server.process.pid as number, server.workers().at(-1) as number] as const
      return {
        sent,
        cpuSeconds: pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0),
        serverBytes: residentBytesOf(pids[0]),
        workerBytes: residentBytesOf(pids[1]),
      }
    },
    job: (body, { from, headers } = {}) =>
      ask('/v1/jobs', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
        ...(from !== undefined && { from }),
      }),
    upload: (bytes, type = 'image/png', from = '192.0.2.1') =>
      ask('/v1/uploads', {
        method: 'POST',
        headers: { 'content-type': type },
        body: Buffer.from(bytes),
        from,
      }),
    socket: (text) => {
      sent += text.length
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(text)
      lastFirst(t).after(() => void socket.destroy())
      return socket
    },
    end: async (id) => (await untilFinal(address, id)).status,
  }
}

function codeOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { readonly error?: { readonly code?: string } }).error?.code
  } catch {
    return undefined
  }
}

/** User and system time; a tick is a hundredth of a second on every Linux. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function residentBytesOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}
