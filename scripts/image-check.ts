import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

interface Checked {
  readonly tag: string
  readonly base: string
  /** podman's options for the storage that has the image. */
  readonly storage: readonly string[]
  /** A folder for files. */
  readonly work: string
  /** npm's registry on this machine, which the image must not name. */
  readonly registry: string
}

/**
 * What a container is given: nothing it could do without. The limits are for machines whose root may not raise them.
 */
const hardened = [
  ...['--cgroups=disabled', '--network=host', '--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'],
  ...['--read-only', '--tmpfs', '/tmp', '--cap-drop=ALL', '--security-opt', 'no-new-privileges'],
]

/** podman wants cgroups of version 2; where /sys/fs/cgroup has the first, it gets them in a namespace of its own. */
const wrapper = `if ! grep -qs ' /sys/fs/cgroup cgroup2 ' /proc/mounts; then
  umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
fi
exec podman "$@"`

const limitMs = 120_000
const graceSeconds = 60

/** Starts the image as it is meant to run; ends with an assertion if it does not keep a promise. */
export async function checkImage({ tag, base, storage, work, registry }: Checked): Promise<void> {
  const settings = join(work, 'containers.conf')
  // the folder of the other kind of locks is read-only on some machines
  writeFileSync(settings, '[engine]\nlock_type = "file"\n')
  const env = { ...process.env, CONTAINERS_CONF: settings }
  const wrapped = ['--mount', 'sh', '-c', wrapper, 'podman', ...storage, '--runtime', 'crun']
  const podman = (...args: readonly string[]) => {
    const options = { env, encoding: 'utf8', maxBuffer: 64 << 20 } as const
    const { status, stdout, stderr } = spawnSync('unshare', [...wrapped, ...args], options)
    return { status, stdout: stdout.trim(), stderr: stderr.trim() }
  }
  const port = await freePort()
  const name = `packshot-check-${process.pid}`
  const settingsOf = ['-e', `PORT=${port}`, '-e', 'PACKSHOT_HOST=127.0.0.1', '-v', `${name}:/data`]
  const child = spawn('unshare', [...wrapped, 'run', '--name', name, ...hardened, ...settingsOf, tag], {
    env,
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log += text))
  const ended = once(child, 'exit')
  try {
    const started = performance.now()
    await until(
      () => podman('healthcheck', 'run', name).status === 0,
      () => log,
    )
    console.log(`ready after ${seconds(started)} s`)

    const exec = (...args: readonly string[]) => podman('exec', name, 'node', ...args)
    const wrong = exec('src/main/role.ts', 'sevrer')
    assert.match(wrong.stderr, /There is no role "sevrer"\. Roles: all-in-one, server, worker, /)
    assert.equal(wrong.status, 1)
    assert.match(exec('src/main/role.ts', 'server').stderr, /PACKSHOT_QUEUE_URL must be set/)
    const seen = JSON.parse(
      exec(
        '--input-type=module',
        '-e',
        `import { readFileSync, writeFileSync } from 'node:fs'
        let code = 'written'
        try { writeFileSync('/app/x', '') } catch (error) { code = error.code }
        const sbom = readFileSync('/usr/share/doc/packshot/sbom.cdx.json', 'utf8')
        console.log(JSON.stringify({
          uid: process.getuid(), code, node: process.version,
          caps: /^CapEff:\\s*(\\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1],
          packages: JSON.parse(sbom).components.length, of: JSON.parse(sbom).metadata.component.name,
          names: sbom.includes(${JSON.stringify(new URL(registry).host)}),
        }))`,
      ).stdout,
    ) as Record<string, unknown>
    const isPublic = new URL(registry).host === 'registry.npmjs.org'
    assert.deepEqual(
      { ...seen, packages: undefined, names: isPublic ? false : seen.names },
      {
        uid: 1000,
        code: 'EROFS',
        of: 'packshot',
        node: process.version,
        caps: '0000000000000000',
        packages: undefined,
        names: false,
      },
    )
    assert.ok(Number(seen.packages) > 50, 'the SBOM lists the packages')

    const page = await fetch(`http://127.0.0.1:${port}/`)
    assert.match(await page.text(), /<title>[^<]*Packshot/i)

    const submit = async () => {
      const body = JSON.stringify({ prompt: 'a red apple' })
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`http://127.0.0.1:${port}/v1/jobs`, { method: 'POST', headers, body })
      assert.equal(answer.status, 202)
      return ((await answer.json()) as { id: string }).id
    }
    const id = await submit()
    const job = `http://127.0.0.1:${port}/v1/jobs/${id}`
    await until(
      async () => ((await (await fetch(job)).json()) as { status: string }).status === 'succeeded',
      () => log,
    )
    const picture = Buffer.from(await (await fetch(`${job}/images/0`)).arrayBuffer())
    assert.equal(picture.subarray(1, 4).toString(), 'PNG')
    console.log(`a picture of ${picture.length} bytes after ${seconds(started)} s`)

    await submit()
    const stopped = performance.now()
    const first = exec('-p', 'fs.readFileSync("/proc/1/cmdline","utf8")').stdout
    assert.ok(first.includes('/app/src/main/all-in-one.ts'), `the first process is the program: ${first}`)
    podman('stop', '--time', String(graceSeconds), name)
    assert.deepEqual(await ended, [0, null], log)
    assert.match(log, /Packshot is stopping: the current job may finish/)
    console.log(`stopped by SIGTERM with a job in work, after ${seconds(stopped)} s, status 0`)
  } finally {
    podman('rm', '--force', name)
    podman('volume', 'rm', '--force', name)
  }

  const size = (image: string) =>
    Number(podman('image', 'inspect', image, '--format', '{{.Size}}').stdout) / 1e6
  const above = size(tag) - size(base)
  console.log(`${tag}: ${size(tag).toFixed(0)} MB unpacked, of them ${above.toFixed(0)} MB above the base`)
}

async function until(holds: () => boolean | Promise<boolean>, said: () => string): Promise<void> {
  const end = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`It did not happen in ${limitMs / 1000} s:\n${said()}`)
    await sleep(500)
  }
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}
