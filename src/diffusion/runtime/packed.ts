import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { arch, cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { messageOfThrown } from '../errors.ts'
import { leastMapped, runtimeVersion, Session, type SessionOptions } from './session.ts'

/**
 * Graphs as ONNX Runtime has optimized them, with their weights packed for its kernels, in files: the next session maps
 * them. It computes the same numbers as one that packs weights itself, begins in a second, and the memory of the
 * weights is shared between processes. Packing depends on the processor and on the version of ONNX Runtime.
 */
export interface PackedPlace {
  /** Packed graphs of all models; created if it is missing. */
  readonly folder: string
  /** What of the model it is, for the name of the folder: `unet`. */
  readonly part: string
  /** Identifies the weights' file and its content across processes. */
  readonly weights: string
  /** What the packing depends on besides: another value for another processor or runtime. */
  readonly machine: string
}

const names = { graph: 'graph.onnx', weights: 'weights.bin', about: 'packed.json' } as const

/** Files that were written to for the last time so long ago were left by a process that died. */
const abandonedMs = 10 * 60_000

/** What the file beside graph and weights says of them. */
interface About {
  readonly graph: string
  readonly bytes: number
}

/**
 * A session for the graph with mapped weights. Whatever is missing, damaged or of another state of the weights is packed
 * again, which takes as long as loading and writing them together.
 * @param graph as for `Session.create`, with `weightsFolder`
 * @param onWarning told why files cannot be kept; the weights are then packed into private memory
 * @throws what `Session.create` throws
 */
export async function packedSession(
  graph: Uint8Array,
  weightsFolder: string,
  place: PackedPlace,
  options: SessionOptions,
  onWarning: (message: string) => void = () => {},
): Promise<Session> {
  const identity = createHash('sha256')
    .update(JSON.stringify([place.weights, place.machine]))
    .update(graph)
  const target = join(place.folder, `${place.part}-${identity.digest('hex').slice(0, 24)}`)
  const present = await mapped(target, options)
  if (present !== undefined) return present
  try {
    await pack(graph, weightsFolder, target, options)
  } catch (thrown) {
    onWarning(
      `Packed weights cannot be kept in ${place.folder} (${messageOfThrown(thrown)}): loading takes longer.`,
    )
  }
  return (await mapped(target, options)) ?? Session.create(graph, weightsFolder, options)
}

/** Undefined unless all files are there and whole. The numbers of the weights are not checked: they are gigabytes. */
async function mapped(folder: string, options: SessionOptions): Promise<Session | undefined> {
  try {
    const about: About = JSON.parse(await readFile(join(folder, names.about), 'utf8'))
    const graph = await readFile(join(folder, names.graph))
    const { size } = await stat(join(folder, names.weights))
    if (about.graph !== sha256(graph) || about.bytes !== size) return undefined
    return await Session.fromPacked(graph, folder, options)
  } catch {
    return undefined
  }
}

/** Does nothing while another process packs the same, or died of it a moment ago: it might die of it at each start. */
async function pack(graph: Uint8Array, weightsFolder: string, target: string, options: SessionOptions) {
  const unfinished = `${target}.partial`
  // they may be of a private model
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  if (!(await claimed(unfinished))) return
  try {
    await Session.pack(graph, weightsFolder, { folder: unfinished, ...names }, options)
    await writeFile(join(unfinished, names.weights), '', { flag: 'a' })
    const about: About = {
      graph: sha256(await readFile(join(unfinished, names.graph))),
      bytes: (await stat(join(unfinished, names.weights))).size,
    }
    await writeFile(join(unfinished, names.about), JSON.stringify(about))
    for (const name of Object.values(names)) await synced(join(unfinished, name))
    // what is there is damaged; a process that has it mapped keeps it
    await rm(target, { recursive: true, force: true })
    await rename(unfinished, target)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** Whether the folder is now this process's to fill. */
async function claimed(folder: string): Promise<boolean> {
  const exists = await mkdir(folder, { mode: 0o700 }).then(
    () => false,
    (thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EEXIST') throw thrown
      return true
    },
  )
  if (!exists) return true
  const touched = await stat(join(folder, names.weights)).catch(() => stat(folder))
  if (Date.now() - touched.mtimeMs < abandonedMs) return false
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  return true
}

async function synced(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** What packed files depend on: the processor, with the instructions that the system allows, and ONNX Runtime. */
export function packingMachine(): string {
  const [, flags = ''] = /^(?:flags|Features)\s*:\s*(.+)$/m.exec(cpuInfo()) ?? []
  return JSON.stringify([runtimeVersion, leastMapped, arch(), cpus()[0]?.model, sha256(Buffer.from(flags))])
}

function cpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8')
  } catch {
    return ''
  }
}
