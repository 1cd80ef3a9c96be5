import { once } from 'node:events'
import { Readable } from 'node:stream'
import { ZipFile } from 'yazl'
import type { StoredFile } from '../ports.ts'

interface ZipWriter {
  /** Resolves when the client has taken the file. Rejects if it cannot be read. */
  add(name: string, file: StoredFile): Promise<void>
  /** A file that is made while it is sent; compressed. */
  addText(name: string, pieces: AsyncIterable<string>): void
  /** Whether the client is gone. */
  readonly over: boolean
}

/**
 * A ZIP as a stream. One file is open at a time, and none is read before the client has taken what comes before it. Files
 * are stored as they are. Ends with an error, and so unfinished, if `write` rejects.
 */
export function zipStream(mtime: Date, write: (zip: ZipWriter) => Promise<void>): Readable {
  const zip = new ZipFile()
  const output = zip.outputStream as Readable
  zip.on('error', (error: Error) => output.destroy(error))
  let opened: Readable | undefined
  output.once('close', () => opened?.destroy())
  const writer: ZipWriter = {
    async add(name, file) {
      const body = file.body instanceof Readable ? file.body : Readable.from([Buffer.from(file.body)])
      opened = body
      const closed = once(body, 'close')
      zip.addReadStream(body, name, { compress: false, size: file.bytes, mtime, mode: 0o100644 })
      await closed
    },
    addText(name, pieces) {
      zip.addReadStream(Readable.from(pieces), name, { compress: true, mtime, mode: 0o100644 })
    },
    get over() {
      return output.destroyed
    },
  }
  write(writer)
    .then(() => zip.end())
    .catch((thrown: unknown) => output.destroy(thrown instanceof Error ? thrown : new Error(String(thrown))))
  return output
}
