import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { speaksHttp } from './answers.ts'
import { createBucket, type S3Access } from './buckets.ts'
import { runTool, type ServiceControl, serviceFolder, startDaemon, startService } from './daemon.ts'
import { freePort } from './free-port.ts'
import { areOnPath, ensureInstalled } from './packages.ts'

const programs = ['monmaptool', 'ceph', 'ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin']

/** The control is of the gateway alone: the objects are in the store behind it and survive its `kill`. */
export interface RgwService extends ServiceControl, S3Access {
  readonly port: number
  /** The name has three characters or more. */
  createBucket(name: string): Promise<void>
  /** Runs radosgw-admin, for instance `quota set --uid=test ...`; resolves with its output. */
  radosgwAdmin(...args: string[]): Promise<string>
}

export interface RgwOptions {
  /** How long a day of a bucket's lifecycle rule lasts. Short days cost: all rules are looked at once in each. */
  readonly lifecycleDaySeconds?: number
  /**
   * The gateway keeps what it knows of users and buckets in memory: a request costs a third. Not for one that is killed:
   * it would hold up every change of a bucket, which is announced to all gateways with a cache, and waited for.
   */
  readonly cache?: boolean
  /** Lines for the gateway's part of ceph.conf. */
  readonly config?: readonly string[]
}

/**
 * An S3 server of this test alone: Ceph's RADOS gateway over one monitor and one object store in memory (1 GiB).
 * Buckets without a lifecycle rule keep everything.
 */
export async function startRgw(t: Cleanup, options: RgwOptions = {}): Promise<RgwService> {
  await ensureInstalled('an S3 server (Ceph RGW)', () => areOnPath(...programs))
  const cleanup = groupOf(t)
  const folder = serviceFolder(cleanup)
  const { lifecycleDaySeconds, cache = false, config = [] } = options
  const port = await freePort()
  const monitor = `[v2:127.0.0.1:${await freePort()},v1:127.0.0.1:${await freePort()}]`
  const clusterId = randomUUID()
  const days = lifecycleDaySeconds === undefined ? [] : [`rgw lc debug interval = ${lifecycleDaySeconds}`]
  writeFileSync(
    join(folder, 'ceph.conf'),
    configuration({ folder, clusterId, monitor, port, cache, config: [...days, ...config] }),
  )
  writeFileSync(join(folder, 'keyring'), keyring())
  for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(folder, name))

  const conf = ['-c', join(folder, 'ceph.conf')]
  const tool = (file: string, ...args: string[]) => runTool({ name: file, file, args, folder }, 60_000)
  const daemon = (name: string, file: string, ...args: string[]) =>
    startDaemon(cleanup, { name, file, args: [...args, ...conf, '-f'], folder })

  await tool('monmaptool', '--create', '--fsid', clusterId, '--addv', 'a', monitor, 'monmap')
  await tool('ceph-mon', '-i', 'a', ...conf, '--mkfs', '--monmap', 'monmap', '--keyring', 'keyring')
  daemon('mon', 'ceph-mon', '-i', 'a')
  const storeId = randomUUID()
  await tool('ceph', ...conf, 'osd', 'new', storeId)
  await tool('ceph-osd', '-i', '0', ...conf, '--mkfs', '--osd-uuid', storeId)
  daemon('osd', 'ceph-osd', '-i', '0')

  const radosgwAdmin = (...args: string[]) => tool('radosgw-admin', ...conf, '-n', 'client.rgw.a', ...args)
  const keys = { accessKeyId: 'test', secretAccessKey: 'testsecret' }
  const keyOptions = [`--access-key=${keys.accessKeyId}`, `--secret-key=${keys.secretAccessKey}`]
  await radosgwAdmin('user', 'create', '--uid=test', '--display-name=test', ...keyOptions)

  const endpoint = `http://127.0.0.1:${port}`
  const args = ['-n', 'client.rgw.a', ...conf, '-f']
  const control = await startService(cleanup, { name: 'rgw', file: 'radosgw', args, folder }, () =>
    speaksHttp(endpoint),
  )
  const access: S3Access = { endpoint, ...keys, region: 'us-east-1' }
  return { ...control, ...access, port, radosgwAdmin, createBucket: (name) => createBucket(access, name) }
}

function configuration(values: {
  folder: string
  clusterId: string
  monitor: string
  port: number
  cache: boolean
  config: readonly string[]
}): string {
  const { folder, clusterId, monitor, port, cache, config } = values
  return `[global]
fsid = ${clusterId}
mon host = ${monitor}
mon initial members = a
public addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = 1073741824
keyring = ${folder}/keyring
run dir = ${folder}
log to file = false
log to stderr = true
# the path of a socket may have 107 characters, that of a temporary folder more
admin socket =
pid file =
paxos propose interval = 0.02
# what is collected in memory for the case of a crash is a fifth of the processor time
debug rgw = 1/1
debug osd = 1/1
debug objecter = 0/0
debug rados = 0/0
debug auth = 1/1
[mon]
mon data = ${folder}/mon
[osd]
osd data = ${folder}/osd
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw data = ${folder}/rgw
rgw gc obj min wait = 1
rgw cache enabled = ${cache}
# how long the lifecycle stands still after the gateway that worked on it was killed
rgw lc lock max time = 10
# a stop would wait for that lock
rgw exit timeout secs = 3
${config.join('\n')}
`
}

/** One file for all parts. A key is type 1, its time in seconds and nanoseconds, its length and 16 random bytes. */
function keyring(): string {
  const entry = (name: string, ...caps: string[]) => {
    const head = Buffer.alloc(12)
    head.writeUInt16LE(1, 0)
    head.writeUInt32LE(Math.floor(Date.now() / 1000), 2)
    head.writeUInt16LE(16, 10)
    const key = Buffer.concat([head, randomBytes(16)]).toString('base64')
    return `[${name}]\n\tkey = ${key}\n${caps.map((part) => `\tcaps ${part} = "allow *"\n`).join('')}`
  }
  const users = ['client.admin', 'osd.0', 'client.rgw.a']
  return entry('mon.', 'mon') + users.map((name) => entry(name, 'mon', 'osd')).join('')
}
