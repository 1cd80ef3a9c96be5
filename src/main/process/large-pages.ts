import { readFileSync } from 'node:fs'

/** What decides whether large memory pages are available. */
export interface PageSystem {
  readonly platform: NodeJS.Platform
  /** The version that this process runs on; undefined with another C library. */
  readonly glibc: string | undefined
  /** The text of the kernel's switch, such as `always [madvise] never`; undefined if there is none. */
  readonly transparentHugePages: string | undefined
}

export interface LargePages {
  /** For the process that computes: it must be set before the process starts. */
  readonly env: NodeJS.ProcessEnv
  /** Why its memory comes in small pages although that was not requested: a sentence, not an error. */
  readonly note?: string
}

const variable = 'GLIBC_TUNABLES'
const hugetlb = 'glibc.malloc.hugetlb'
/**
 * From this size on a block is returned to the system when it is freed. glibc raises the limit to 32 MiB by itself, and
 * then keeps as much memory as it gave out: a worker that makes many sizes of pictures would never shrink.
 */
const returned = ['glibc.malloc.mmap_threshold', '131072'] as const
const firstGlibc = [2, 35] as const

/**
 * The environment of a process that computes. Its tensors are so large and so often reallocated that memory in pages of
 * 4 KB costs more time than the first step itself on some virtual machines (docs/performance.md). glibc asks the kernel for
 * pages of 2 MB when this variable says so: https://sourceware.org/glibc/manual/2.41/html_node/Memory-Allocation-Tunables.html
 *
 * The rest of the variable is kept, and an existing value for the same tunable takes precedence.
 * `PACKSHOT_LARGE_PAGES=off` changes nothing.
 */
export function withLargePages(env: NodeJS.ProcessEnv, system: PageSystem = thisSystem()): LargePages {
  if (env.PACKSHOT_LARGE_PAGES === 'off') return { env }
  const given = (env[variable] ?? '').split(':').filter((setting) => setting !== '')
  const has = (tunable: string) => given.some((setting) => setting.startsWith(`${tunable}=`))
  const mode = /\[(\w+)\]/.exec(system.transparentHugePages ?? '')?.[1]
  // with `always` the kernel gives large pages unasked, and glibc does not ask
  const wanted = !has(hugetlb) && mode !== 'always'
  const obstacle = wanted ? obstacleOf(system, mode) : undefined
  const settings = [...given]
  if (wanted && obstacle === undefined) settings.push(`${hugetlb}=1`)
  if (system.glibc !== undefined && !has(returned[0])) settings.push(returned.join('='))
  return {
    env: settings.length === given.length ? env : { ...env, [variable]: settings.join(':') },
    ...(obstacle !== undefined && { note: `Large memory pages are not used: ${obstacle}.` }),
  }
}

function obstacleOf({ platform, glibc }: PageSystem, mode: string | undefined): string | undefined {
  if (platform !== 'linux') return 'only Linux lets a program request them'
  if (glibc === undefined) return "this system's C library is not glibc, which can request them"
  if (!isAtLeast(glibc, firstGlibc))
    return `glibc ${glibc} cannot request them; ${firstGlibc.join('.')} and later can`
  if (mode === 'madvise') return undefined
  return `the kernel has them switched off (${thpSwitch} must be set to madvise)`
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

const thpSwitch = '/sys/kernel/mm/transparent_hugepage/enabled'

function thisSystem(): PageSystem {
  const { platform } = process
  if (platform !== 'linux') return { platform, glibc: undefined, transparentHugePages: undefined }
  return { platform, glibc: glibcVersion(), transparentHugePages: readIfThere(thpSwitch) }
}

function glibcVersion(): string | undefined {
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report
  const { excludeNetwork = false } = report
  // it would look up the names of all peers
  report.excludeNetwork = true
  const { header } = report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } }
  report.excludeNetwork = excludeNetwork
  return header.glibcVersionRuntime
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
