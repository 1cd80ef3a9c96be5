import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { unlessMissing } from '../../adapters/disk/files.ts'
import { messageOf } from '../../jobs/errors.ts'

/**
 * SHA-256 sums as sha256sum writes and checks them: lines of a hash, two spaces, and a path relative to the folder
 * of the file of sums.
 */
export type Sums = ReadonlyMap<string, string>

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/** Where the sums of an entry are. */
export function sumsBeside({ path, name }: { readonly path: string; readonly name: string }): string {
  return join(dirname(path), `${name}.sha256`)
}

export async function writeSums(path: string, sums: Sums): Promise<void> {
  const lines = [...sums].map(([name, hash]) => `${hash}  ${name}\n`)
  await writeFile(path, lines.join(''))
}

/** Undefined when there is no such file. @throws Error for a file that is damaged */
export async function readSums(path: string): Promise<Sums | undefined> {
  const text = await unlessMissing(readFile(path, 'utf8'))
  if (text === undefined) return undefined
  const sums = new Map<string, string>()
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue
    const match = /^([0-9a-f]{64}) [ *](.+)$/i.exec(line)
    const [, hash, name] = match ?? []
    if (hash === undefined || name === undefined) {
      throw new Error(`${path}: line ${index + 1} is not in the format of sha256sum`)
    }
    sums.set(name, hash.toLowerCase())
  }
  return sums
}

/** @returns a sentence for each file that changed or cannot be read */
export async function compareSums(folder: string, sums: Sums): Promise<string[]> {
  const faults: string[] = []
  for (const [name, wanted] of sums) {
    const path = join(folder, name)
    const found = await hashFile(path).catch((thrown: unknown) => {
      faults.push(`${path}: ${messageOf(thrown)}`)
      return undefined
    })
    if (found !== undefined && found !== wanted) {
      faults.push(`${path}: the file has the SHA-256 ${found}, but it had ${wanted} when it was added`)
    }
  }
  return faults
}
