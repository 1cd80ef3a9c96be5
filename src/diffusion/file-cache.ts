import { CheckpointError } from './errors.ts'
import { type FileStamp, fileStamp } from './file-stamp.ts'

/** Caches what was read from small files until a file changes; evicts the least recently used first. */
export class FileCache<T> {
  readonly #open: (path: string) => Promise<T>
  readonly #most: number
  readonly #entries = new Map<string, { stamp: FileStamp; value: T }>()

  constructor(open: (path: string) => Promise<T>, most: number) {
    this.#open = open
    this.#most = most
  }

  /** The same object while the file is unchanged. @throws what `open` throws; CheckpointError if the file is gone */
  async get(path: string): Promise<T> {
    const stamp = await fileStamp(path)
    if (stamp === undefined) throw new CheckpointError(`${path}: the file is missing or not readable`)
    const known = this.#entries.get(path)
    const entry = known?.stamp === stamp ? known : { stamp, value: await this.#open(path) }
    // a Map keeps insertion order: the first entry is the least recently used
    this.#entries.delete(path)
    this.#entries.set(path, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#most) break
      this.#entries.delete(oldest)
    }
    return entry.value
  }
}
