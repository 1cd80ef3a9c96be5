import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { type ServiceControl, serviceFolder, startService } from '../services/daemon.ts'
import { freePort } from '../services/free-port.ts'
import { areOnPath, ensureInstalled } from '../services/packages.ts'

/** The proxies as they are shipped in deploy/, filled in as docs/proxies.md says, in front of servers of a test. */

/** The name under which the proxies are reached; they have a certificate for it that they made themselves. */
export const proxyName = 'studio.test'

const workerProcesses = 2

export interface Front {
  readonly name: 'nginx' | 'HAProxy'
  readonly httpsPort: number
  readonly httpPort: number
  /** The certificate, which is its own authority. */
  readonly authority: string
  pid(): number
  /** What an operator does before the server with this port is stopped; nothing where health checks do it. */
  takeOut(port: number): Promise<void>
  /** What an operator does after it answers again. Resolves when the proxy uses it. */
  takeBack(port: number): Promise<void>
}

export interface ProxyOptions {
  /** Of the two servers, on 127.0.0.1. */
  readonly ports: readonly [number, number]
  /** With a slash at its end. */
  readonly path?: string
  /** Of each process of nginx, to both sides. */
  readonly connections?: number
}

export async function startNginx(
  t: Cleanup,
  { ports, path = '/', connections = 1024 }: ProxyOptions,
): Promise<Front> {
  const program = '/usr/sbin/nginx'
  await ensureInstalled('nginx 1.22 or later', () => areOnPath('nginx') || existsSync(program))
  const place = await preparePlace(t)
  const { folder, httpPort, httpsPort } = place
  const serversFile = join(folder, 'packshot-servers.conf')
  const shippedServers = shipped('nginx/packshot-servers.conf').replace(
    '10.0.0.11:8080',
    `127.0.0.1:${ports[0]}`,
  )
  writeFileSync(serversFile, shippedServers.replace('10.0.0.12:8080', `127.0.0.1:${ports[1]}`))
  const values: Record<string, string> = {
    PROXY_NAME: proxyName,
    PROXY_PATH: path,
    PROXY_HTTP_PORT: String(httpPort),
    PROXY_HTTPS_PORT: String(httpsPort),
    PROXY_CERTIFICATE: place.certificate,
    PROXY_KEY: place.key,
    PROXY_SERVERS: serversFile,
  }
  const filled = shipped('nginx/packshot.conf').replace(
    /\$\{(PROXY_\w+)\}/g,
    (all, name: string) => values[name] ?? all,
  )
  writeFileSync(join(folder, 'packshot.conf'), filled)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; user root; pid ${folder}/nginx.pid; error_log ${folder}/errors.log notice; worker_processes ${workerProcesses};
     events { worker_connections ${connections}; }
     http { access_log off; ${temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
       include ${folder}/packshot.conf; }`,
  )
  const file = areOnPath('nginx') ? 'nginx' : program
  const args = ['-c', join(folder, 'nginx.conf')]
  const control = await startService(place.cleanup, { name: 'nginx', file, args, folder }, () =>
    answers(httpsPort),
  )
  // killed, it would leave its workers behind
  place.cleanup.after(() => control.stop())
  const change = async (from: string, to: string) => {
    const before = readFileSync(serversFile, 'utf8')
    writeFileSync(serversFile, before.replace(from, to))
    await reload(control, folder)
  }
  return {
    name: 'nginx',
    ...place,
    pid: control.pid,
    takeOut: (port) => change(`server 127.0.0.1:${port} `, `server 127.0.0.1:${port} down `),
    takeBack: (port) => change(`server 127.0.0.1:${port} down `, `server 127.0.0.1:${port} `),
  }
}

export async function startHaproxy(t: Cleanup, { ports, path = '/' }: ProxyOptions): Promise<Front> {
  const program = '/usr/sbin/haproxy'
  await ensureInstalled('HAProxy 2.6 or later', () => areOnPath('haproxy') || existsSync(program))
  const place = await preparePlace(t)
  const { folder, httpPort, httpsPort } = place
  const pem = join(folder, 'both.pem')
  writeFileSync(pem, place.authority + readFileSync(place.key, 'utf8'))
  const env = {
    PROXY_PATH: path,
    PROXY_HTTP_PORT: String(httpPort),
    PROXY_HTTPS_PORT: String(httpsPort),
    PROXY_PEM: pem,
    PROXY_SERVER_1: `127.0.0.1:${ports[0]}`,
    PROXY_SERVER_2: `127.0.0.1:${ports[1]}`,
  }
  const file = areOnPath('haproxy') ? 'haproxy' : program
  const args = ['-db', '-f', new URL('../../deploy/haproxy/haproxy.cfg', import.meta.url).pathname]
  const control = await startService(place.cleanup, { name: 'haproxy', file, args, env, folder }, () =>
    answers(httpsPort),
  )
  // its log goes to stdout: a line for each server that goes down or comes up
  const ups = (port: number) => {
    const server = port === ports[0] ? 'one' : 'two'
    return readFileSync(join(folder, 'haproxy.log'), 'utf8').split(`packshot/${server} is UP`).length
  }
  const before = new Map<number, number>()
  return {
    name: 'HAProxy',
    ...place,
    pid: control.pid,
    takeOut: async (port) => void before.set(port, ups(port)),
    takeBack: (port) => waitFor(() => ups(port) > (before.get(port) ?? 0)),
  }
}

interface Place {
  readonly cleanup: Cleanup
  readonly folder: string
  readonly httpPort: number
  readonly httpsPort: number
  /** Files. */
  readonly certificate: string
  readonly key: string
  readonly authority: string
}

async function preparePlace(t: Cleanup): Promise<Place> {
  const cleanup = groupOf(t)
  const folder = serviceFolder(cleanup)
  mkdirSync(folder, { recursive: true })
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const name = ['-subj', `/CN=${proxyName}`, '-addext', `subjectAltName=DNS:${proxyName}`]
  const args = ['req', '-x509', ...curve, ...name, '-days', '2', '-keyout', key, '-out', certificate]
  execFileSync('openssl', args, { stdio: 'pipe' })
  return {
    cleanup,
    folder,
    httpPort: await freePort(),
    httpsPort: await freePort(),
    certificate,
    key,
    authority: readFileSync(certificate, 'utf8'),
  }
}

export function shipped(name: string): string {
  return readFileSync(new URL(`../../deploy/${name}`, import.meta.url), 'utf8')
}

/** `nginx -s reload`; resolves when new processes have taken over. */
async function reload(control: ServiceControl, folder: string): Promise<void> {
  const started = () => readFileSync(join(folder, 'errors.log'), 'utf8').split('start worker process ').length
  const before = started()
  process.kill(control.pid(), 'SIGHUP')
  await waitFor(() => started() === before + workerProcesses)
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
