import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile, rm, stat, writeFile } from 'node:fs/promises'

/**
 * A file that is on its way: `PATH` with what came, and `PATH.json` with what it is a part of. It outlives the process,
 * so that a later download goes on where this one ended.
 */

/** What the bytes that came are a part of: only a server that names the same may send the rest. */
export interface Origin {
  /** Tells the address; not the address itself, as that may hold a key. */
  readonly mark: string
  readonly etag?: string
  readonly lastModified?: string
  /** Bytes of the whole file. */
  readonly total?: number
  /** As the server calls the file. */
  readonly fileName?: string
}

export class Partial {
  readonly path: string
  readonly #handle: FileHandle
  #origin: Origin | undefined
  #bytes: number
  #hash: Hash

  private constructor(path: string, handle: FileHandle, bytes: number, hash: Hash, origin?: Origin) {
    this.path = path
    this.#handle = handle
    this.#bytes = bytes
    this.#hash = hash
    this.#origin = origin
  }

  /** Goes on with what is there if it came from `mark`; else begins anew. */
  static async open(path: string, mark: string): Promise<Partial> {
    const origin = await readOrigin(path)
    const known = origin?.mark === mark && (await exists(path))
    const handle = await open(path, known ? 'r+' : 'w')
    const hash = createHash('sha256')
    let bytes = 0
    if (known) {
      for await (const chunk of createReadStream(path)) {
        hash.update(chunk)
        bytes += chunk.length
      }
    }
    return new Partial(path, handle, bytes, hash, known ? origin : undefined)
  }

  get bytes(): number {
    return this.#bytes
  }

  get origin(): Origin | undefined {
    return this.#origin
  }

  /** What is to come is the rest of this. */
  async belongsTo(origin: Origin): Promise<void> {
    await writeFile(describedAt(this.path), JSON.stringify(origin))
    this.#origin = origin
  }

  async startOver(): Promise<void> {
    await this.#handle.truncate(0)
    this.#bytes = 0
    this.#hash = createHash('sha256')
    this.#origin = undefined
  }

  async append(chunk: Uint8Array): Promise<void> {
    // a full disk may take a part of a chunk: what it did not take is written, or refused, by the next call
    let written = 0
    while (written < chunk.length) {
      const rest = chunk.subarray(written)
      const { bytesWritten } = await this.#handle.write(rest, 0, rest.length, this.#bytes)
      this.#hash.update(rest.subarray(0, bytesWritten))
      this.#bytes += bytesWritten
      written += bytesWritten
    }
  }

  /** Makes the bytes durable. @returns their SHA-256, in hexadecimal digits */
  async finish(): Promise<string> {
    await this.#handle.sync()
    return this.#hash.copy().digest('hex')
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  /** Takes back what came: it is of no use for going on. */
  async discard(): Promise<void> {
    await rm(this.path, { force: true })
    await rm(describedAt(this.path), { force: true })
  }
}

/** The description alone: the file is complete. */
export async function forgetOrigin(path: string): Promise<void> {
  await rm(describedAt(path), { force: true })
}

function describedAt(path: string): string {
  return `${path}.json`
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

/** Undefined when it is missing or damaged: the download then begins anew. */
async function readOrigin(path: string): Promise<Origin | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(describedAt(path), 'utf8'))
    if (typeof value !== 'object' || value === null || !('mark' in value)) return undefined
    return value as Origin
  } catch {
    return undefined
  }
}
