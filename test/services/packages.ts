import { execFile } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
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
} as const

/** True when each of these programs is in a folder of PATH. */
export function areOnPath(...programs: readonly string[]): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return programs.every((program) => folders.some((folder) => existsSync(join(folder, program))))
}

/** dpkg lets one in at a time. */
let previous: Promise<unknown> = Promise.resolve()

/**
 * Resolves once the service's programs are on this machine: at once where they are, after apt-get on Debian and its
 * children as root. Anywhere else it rejects with what is missing and how to get it.
 */
export async function ensureInstalled(
  service: keyof typeof packages,
  isInstalled: () => boolean,
): Promise<void> {
  const turn = previous.then(async () => {
    if (isInstalled()) return
    if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) throw missing(service)
    await install(packages[service])
    if (!isInstalled()) throw new Error(`${missing(service).message} apt-get was run and did not bring it.`)
  })
  previous = turn.catch(() => {})
  return turn
}

function missing(service: keyof typeof packages): Error {
  const names = packages[service].join(' ')
  return new Error(
    `The tests need ${service}. Start Docker, or install it (Debian: apt-get install ${names}), or give the ` +
      'address of one that runs: TEST_QUEUE_URL, TEST_STATUS_URL, or TEST_STORAGE_URL with TEST_S3_ENDPOINT, ' +
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
