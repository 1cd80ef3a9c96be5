import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type CheckpointFacts, readFacts } from '../../diffusion/checkpoint/facts.ts'
import { type FileStamp, fileStamp } from '../../diffusion/file-stamp.ts'

/** Facts about files and model folders, read again only when they change. */
export class FactsCache {
  readonly #known = new Map<string, { stamp: FileStamp; facts: Promise<CheckpointFacts> }>()

  /** @throws what `readFacts` throws */
  async get(path: string): Promise<CheckpointFacts> {
    const stamp = await entryStamp(path)
    const known = this.#known.get(path)
    if (known?.stamp === stamp) return known.facts
    const facts = readFacts(path)
    this.#known.set(path, { stamp, facts })
    return facts
  }
}

/** Changes when the file, a file in the model folder, or the defaults beside the file change. Empty if it does not exist. */
export async function entryStamp(path: string): Promise<FileStamp> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return ''
  const files = stats.isDirectory()
    ? (await readdir(path, { recursive: true })).sort().map((name) => join(path, name))
    : [path, path.replace(/\.safetensors$/i, '.json')]
  const stamps: string[] = []
  for (const file of files) stamps.push(`${file} ${await fileStamp(file)}`)
  return stamps.join('\n')
}
