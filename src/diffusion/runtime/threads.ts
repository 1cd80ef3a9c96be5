import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** A text that the system tells under a path; undefined where there is none. */
export type SystemText = (path: string) => string | undefined

/**
 * How many threads to compute with: one for each core that this process may use, at least one. Counted are the CPUs of
 * its affinity that are online, hyper-threads of one core once; a CPU quota of its cgroup (version 1 or 2), rounded up,
 * is the upper limit. ONNX Runtime's own guess is not used: on some virtual machines it is half of them.
 * @param parallelism the answer where the system tells of no CPUs (other systems than Linux). Not used elsewhere: it
 *   counts hyper-threads and rounds a quota down.
 */
export function usableCores(read: SystemText = readText, parallelism = availableParallelism()): number {
  const cores = allowedCores(read) ?? parallelism
  return Math.max(1, Math.min(cores, Math.ceil(cpuQuota(read))))
}

/** `Cpus_allowed_list` also names CPUs that could be plugged in; only those that are online count. */
function allowedCores(read: SystemText): number | undefined {
  const allowed = /^Cpus_allowed_list:\s*(\S+)/m.exec(read('/proc/self/status') ?? '')?.[1]
  const online = read('/sys/devices/system/cpu/online')
  if (allowed === undefined || online === undefined) return undefined
  const present = cpuNumbers(online)
  const cores = [...cpuNumbers(allowed)]
    .filter((cpu) => present.has(cpu))
    .map((cpu) => read(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`) ?? `alone ${cpu}`)
  return cores.length === 0 ? undefined : new Set(cores).size
}

/** From the kernel's form, such as `0-3,8`. */
function cpuNumbers(list: string): Set<number> {
  const numbers = new Set<number>()
  for (const range of list.trim().split(',')) {
    const [first = Number.NaN, last = first] = range.split('-').map(Number)
    for (let cpu = first; cpu <= last; cpu++) numbers.add(cpu)
  }
  return numbers
}

/**
 * In CPUs; Infinity without one. A cgroup's limit holds for all below it, so each level counts. In a container the
 * path may be the host's, of which only the upper end is there: levels without a file are passed over.
 */
function cpuQuota(read: SystemText): number {
  let least = Number.POSITIVE_INFINITY
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, id, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined || controllers === undefined) continue
    const version2 = id === '0' && controllers === ''
    if (!version2 && !controllers.split(',').includes('cpu')) continue
    for (const level of levels(path)) {
      const quota = version2
        ? read(`/sys/fs/cgroup${level}/cpu.max`)
        : version1Quota(read, [`/sys/fs/cgroup/cpu${level}`, `/sys/fs/cgroup/${controllers}${level}`])
      const [limit, period] = (quota ?? 'max').trim().split(/\s+/).map(Number)
      if (limit !== undefined && period !== undefined && limit > 0 && period > 0) {
        least = Math.min(least, limit / period)
      }
    }
  }
  return least
}

/** In version 2's form, `LIMIT PERIOD`; the limit is -1 where there is none. */
function version1Quota(read: SystemText, folders: readonly string[]): string | undefined {
  for (const folder of folders) {
    const quota = read(`${folder}/cpu.cfs_quota_us`)
    if (quota !== undefined) return `${quota.trim()} ${read(`${folder}/cpu.cfs_period_us`) ?? ''}`
  }
  return undefined
}

/** `/a/b` gives `''`, `/a` and `/a/b`. */
function levels(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..')
  return ['', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)]
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
