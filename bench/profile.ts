import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A profile as V8 writes it with `--cpu-prof`: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/ */
interface Profile {
  readonly nodes: readonly ProfileNode[]
  /** The node of each sample, and the microseconds since the sample before. */
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string }
  readonly children?: readonly number[]
}

/** The profile that the main thread of this process left in the folder. */
export function readProfile(folder: string, pid: number): Profile {
  const name = readdirSync(folder).find((file) => file.includes(`.${pid}.0.`))
  if (name === undefined) throw new Error(`process ${pid} left no profile in ${folder}`)
  return JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile
}

/**
 * The share of the busy time that is spent in these files: a sample counts for the file that called last, of the
 * program or of a package; what Node does is counted for the file that asked for it.
 */
export function shareOf({ nodes, samples, timeDeltas }: Profile, files: RegExp): number {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])))
  const asks = (id: number | undefined): string => {
    for (let at = id; at !== undefined; at = parents.get(at)) {
      const url = byId.get(at)?.callFrame.url ?? ''
      if (url !== '' && !url.startsWith('node:')) return url
    }
    return ''
  }
  let [busy, found] = [0, 0]
  for (const [index, id] of samples.entries()) {
    if (byId.get(id)?.callFrame.functionName === '(idle)') continue
    const us = timeDeltas[index] ?? 0
    busy += us
    if (files.test(asks(id))) found += us
  }
  return found / busy
}
