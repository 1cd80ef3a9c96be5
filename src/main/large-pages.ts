import { readFileSync } from 'node:fs'

/** What decides whether memory can come in large pages. */
export interface PageSystem {
  readonly platform: NodeJS.Platform
  /** The version that this process runs on; undefined with another C library. */
  readonly glibc: string | undefined
  /** The text of the kernel's switch, such as `always [madvise] never`; undefined where there is none. */
  readonly transparentHugePages: string | undefined
}

export interface LargePages {
  /** For the process that computes: it has to be there before the process starts. */
  readonly env: NodeJS.ProcessEnv
  /** Why its memory comes in small pages although nobody asked for that: a sentence, and no error. */
  readonly note?: string
}

const variable = 'GLIBC_TUNABLES'
const tunable = 'glibc.malloc.hugetlb'
const firstGlibc = [2, 35] as const

/**
 * The environment of a process that computes. Its tensors are so large and so often new that memory in pages of 4 KB
 * costs more time than the first step itself on some virtual machines (docs/performance.md). glibc asks the kernel for
 * pages of 2 MB when this variable says so: https://sourceware.org/glibc/manual/2.41/html_node/Memory-Allocation-Tunables.html
 *
 * What stands in the variable is kept, and a value for the same tunable wins. `PACKSHOT_LARGE_PAGES=off` leaves all as
 * it is.
 */
export function withLargePages(env: NodeJS.ProcessEnv, system: PageSystem = thisSystem()): LargePages {
  if (env.PACKSHOT_LARGE_PAGES === 'off') return { env }
  const before = env[variable] ?? ''
  if (before.split(':').some((setting) => setting.startsWith(`${tunable}=`))) return { env }
  const mode = /\[(\w+)\]/.exec(system.transparentHugePages ?? '')?.[1]
  // the kernel then gives large pages unasked, and glibc does not ask
  if (mode === 'always') return { env }
  const obstacle = obstacleOf(system, mode)
  if (obstacle !== undefined) return { env, note: `Computing gets no large memory pages: ${obstacle}.` }
  return { env: { ...env, [variable]: `${before === '' ? '' : `${before}:`}${tunable}=1` } }
}

function obstacleOf({ platform, glibc }: PageSystem, mode: string | undefined): string | undefined {
  if (platform !== 'linux') return 'only Linux lets a program ask for them'
  if (glibc === undefined) return "this system's C library is not glibc, which can ask for them"
  if (!isAtLeast(glibc, firstGlibc))
    return `glibc ${glibc} cannot ask for them, from ${firstGlibc.join('.')} on it can`
  if (mode === 'madvise') return undefined
  return `the kernel has them switched off (${thpSwitch} would have to say madvise)`
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
