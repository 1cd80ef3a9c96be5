import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Debian's packages for each service; other systems have the same programs under other names. */
const packages = {
  'RabbitMQ 3.10 or later': ['rabbitmq-server'],
  'Redis 7 or later': ['redis-server'],
  'an S3 server (Ceph RGW)': ['ceph-mon', 'ceph-osd', 'radosgw', 'ceph-common'],
  'faketime (libfaketime)': ['faketime'],
  'Docker Compose 1.29 (docker-compose)': ['docker-compose'],
  'Prometheus and Alertmanager': ['prometheus', 'prometheus-alertmanager'],
  'nginx 1.22 or later': ['nginx'],
  'HAProxy 2.6 or later': ['haproxy'],
  'Chromium or Chrome (CHROMIUM_PATH names its executable)': ['chromium-headless-shell'],
} as const

/** True when each of these programs is in a folder of PATH. */
export function areOnPath(...programs: readonly string[]): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return programs.every((program) => folders.some((folder) => existsSync(join(folder, program))))
}

/** The process that is about to install has this file. apt-get itself waits for dpkg, but not for another `update`. */
const lock = join(tmpdir(), 'packshot-tests-install.lock')

/**
 * Resolves once the service's programs are on this machine: at once where they are, after apt-get on Debian and its
 * children as root, one process at a time. Anywhere else it rejects with what is missing and how to get it.
 */
export async function ensureInstalled(
  service: keyof typeof packages,
  isInstalled: () => boolean,
): Promise<void> {
  if (isInstalled()) return
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) throw missing(service)
  const unlock = await locked()
  try {
    if (!isInstalled()) await install(packages[service])
  } finally {
    unlock()
  }
  if (!isInstalled()) throw new Error(`${missing(service).message} apt-get was run and did not bring it.`)
}

/** Held by a child that ends with this process, however it ends. */
async function locked(): Promise<() => void> {
  const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  return () => void holder.stdin.end()
}

function missing(service: keyof typeof packages): Error {
  const names = packages[service].join(' ')
  return new Error(
    `The tests need ${service}. Install it (Debian: apt-get install ${names}). For queue, status and storage, Docker ` +
      'is enough, or the address of one that runs: TEST_QUEUE_URL, TEST_STATUS_URL, or TEST_STORAGE_URL with TEST_S3_ENDPOINT, ' +
      'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
  )
}

async function install(names: readonly string[]): Promise<void> {
  console.error(`Installing ${names.join(' ')} for the tests ...`)
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, maxBuffer: 64 * 1024 * 1024 }
  const allow = preventServiceStart()
  try {
    await run('apt-get', ['update', '-qq'], options)
    const wait = ['-o', 'DPkg::Lock::Timeout=300']
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...wait, ...names], options)
  } finally {
    allow()
  }
}

/** Debian starts what it installs unless this file says 101, "forbidden"; an existing one is left alone. */
function preventServiceStart(): () => void {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return () => {}
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  return () => rmSync(policy)
}
