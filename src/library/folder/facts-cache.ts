import { stat } from 'node:fs/promises'
import { type CheckpointFacts, readFacts } from '../../diffusion/checkpoint/facts.ts'
import { type FileStamp, fileStamp } from '../../diffusion/file-stamp.ts'
import { modelFiles } from './walk.ts'

/** Facts about files and model folders, read again only when they change. */
export class FactsCache {
  readonly #known = new Map<string, { stamp: FileStamp; facts: Promise<CheckpointFacts> }>()
  readonly #read: (path: string) => Promise<CheckpointFacts>

  constructor(read = readFacts) {
    this.#read = read
  }

  /** @throws what `read` throws */
  async get(path: string): Promise<CheckpointFacts> {
    const stamp = await entryStamp(path)
    const known = this.#known.get(path)
    if (known?.stamp === stamp) return known.facts
    const facts = this.#read(path)
    this.#known.set(path, { stamp, facts })
    return facts
  }
}

/** Changes when the file, a file of the model folder, or what is said beside the file changes. Empty if it does not exist. */
export async function entryStamp(path: string): Promise<FileStamp> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return ''
  const files = stats.isDirectory()
    ? await modelFiles(path)
    : [path, ...['.json', '.yaml'].map((ending) => path.replace(/\.safetensors$/i, ending))]
  const stamps: string[] = []
  for (const file of files) stamps.push(`${file} ${await fileStamp(file)}`)
  return stamps.join('\n')
}
