import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile, rm, stat, writeFile } from 'node:fs/promises'

/**
 * An unfinished download: `PATH` with the bytes so far, and `PATH.json` with the file that they are part of. It outlives
 * the process, so that a later download resumes where this one ended.
 */

/** The file that the stored bytes are part of: the rest is accepted only if the server states the same. */
export interface Origin {
  /** Identifies the URL; not the URL itself, which may contain a key. */
  readonly mark: string
  readonly etag?: string
  readonly lastModified?: string
  /** Bytes of the whole file. */
  readonly total?: number
  /** As the server names the file. */
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

  /** Resumes what is stored if it came from the URL of `mark`; otherwise starts over. */
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

  /** Records the file that the next bytes are part of. */
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
    // a full disk may write part of a chunk: the next call writes the rest, or fails
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

  /** Deletes the stored bytes: they cannot be used to resume. */
  async discard(): Promise<void> {
    await rm(this.path, { force: true })
    await rm(describedAt(this.path), { force: true })
  }
}

/** Deletes the description only: the file is complete. */
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

/** Undefined when it is missing or damaged: the download then starts over. */
async function readOrigin(path: string): Promise<Origin | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(describedAt(path), 'utf8'))
    if (typeof value !== 'object' || value === null || !('mark' in value)) return undefined
    return value as Origin
  } catch {
    return undefined
  }
}
