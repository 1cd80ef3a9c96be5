import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { usableCores } from './threads.ts'

/** A machine as its files tell of it; `siblings` by CPU. */
function machine({
  allowed = '0-3',
  online = '0-3',
  siblings = [] as readonly string[],
  files = {} as Record<string, string>,
} = {}): (path: string) => string | undefined {
  const texts = new Map(Object.entries(files))
  texts.set('/proc/self/status', `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${allowed}\n`)
  texts.set('/sys/devices/system/cpu/online', `${online}\n`)
  for (const [cpu, list] of siblings.entries())
    texts.set(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, `${list}\n`)
  return (path) => texts.get(path)
}

/** More than any machine here has: it must not be what is answered. */
const parallelism = 99
const cores = (of: Parameters<typeof machine>[0]) => usableCores(machine(of), parallelism)

describe('cores', () => {
  test('each counts, also where nothing is told of hyper-threads', () => {
    assert.equal(cores({}), 4)
    assert.equal(cores({ siblings: ['0', '1', '2', '3'] }), 4)
    assert.equal(cores({ allowed: '0', online: '0' }), 1)
  })

  test('hyper-threads of one core count once, whichever way the CPUs are numbered', () => {
    assert.equal(cores({ siblings: ['0-1', '0-1', '2-3', '2-3'] }), 2)
    assert.equal(cores({ siblings: ['0,2', '1,3', '0,2', '1,3'] }), 2)
  })

  test('only those of the affinity count', () => {
    assert.equal(cores({ allowed: '1,3', siblings: ['0-1', '0-1', '2-3', '2-3'] }), 2)
    assert.equal(cores({ allowed: '0-1', siblings: ['0-1', '0-1', '2-3', '2-3'] }), 1)
    assert.equal(cores({ allowed: '0,8-9', online: '0-15' }), 3)
  })

  test('a CPU that could be plugged in does not count', () => {
    assert.equal(cores({ allowed: '0-127', online: '0-3' }), 4)
  })
})

describe('a quota', () => {
  const version2 = (path: string, max: Record<string, string>) => ({
    '/proc/self/cgroup': `0::${path}\n`,
    ...max,
  })

  test('limits the threads, rounded up, and one is always left', () => {
    for (const [max, expected] of [
      ['150000 100000', 2],
      ['200000 100000', 2],
      ['50000 100000', 1],
      ['1000 100000', 1],
      ['1600000 100000', 4],
      ['max 100000', 4],
    ] as const) {
      assert.equal(cores({ files: version2('/', { '/sys/fs/cgroup/cpu.max': `${max}\n` }) }), expected, max)
    }
  })

  test('of a group above holds too', () => {
    const files = version2('/pod/box', {
      '/sys/fs/cgroup/pod/cpu.max': '100000 100000\n',
      '/sys/fs/cgroup/pod/box/cpu.max': 'max 100000\n',
    })
    assert.equal(cores({ files }), 1)
  })

  test('is found in a container that is told the path of the host', () => {
    const files = version2('/system.slice/docker-1.scope', { '/sys/fs/cgroup/cpu.max': '200000 100000\n' })
    assert.equal(cores({ files }), 2)
    assert.equal(
      cores({ files: version2('/../../other', { '/sys/fs/cgroup/cpu.max': '200000 100000\n' }) }),
      2,
    )
  })

  test('of version 1 counts, under either name of its folder', () => {
    const groups = '9:name=systemd:/box\n4:cpu,cpuacct:/box\n3:cpuset:/box\n0::/box\n'
    for (const folder of ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct/box']) {
      const files = {
        '/proc/self/cgroup': groups,
        [`${folder}/cpu.cfs_quota_us`]: '250000\n',
        [`${folder}/cpu.cfs_period_us`]: '100000\n',
      }
      assert.equal(cores({ files }), 3, folder)
      assert.equal(cores({ files: { ...files, [`${folder}/cpu.cfs_quota_us`]: '-1\n' } }), 4, folder)
    }
  })
})

describe('where the system tells of no CPUs', () => {
  test('what Node counts is taken', () => {
    assert.equal(
      usableCores(() => undefined, 8),
      8,
    )
    const halfTold = (path: string) => (path === '/proc/self/status' ? 'Name:\tnode\n' : undefined)
    assert.equal(usableCores(halfTold, 8), 8)
  })
})

describe('on this machine', () => {
  test('at least one, and no more than there are', () => {
    const here = usableCores()
    assert.ok(Number.isInteger(here) && here >= 1 && here <= cpus().length, String(here))
  })

  test('a process bound to one CPU computes with one thread', { skip: process.platform !== 'linux' }, () => {
    const program = `import { usableCores } from ${JSON.stringify(join(import.meta.dirname, 'threads.ts'))}
      console.log(usableCores())`
    const cpu = execFileSync('sh', [
      '-c',
      "sed -n 's/^Cpus_allowed_list:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/self/status",
    ])
    const args = ['-c', cpu.toString().trim(), process.execPath, '--input-type=module', '-e', program]
    assert.equal(execFileSync('taskset', args, { encoding: 'utf8' }), '1\n')
  })
})
