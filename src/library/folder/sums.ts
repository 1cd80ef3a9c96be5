import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * SHA-256 sums as sha256sum writes and checks them: lines of a hash, two spaces, and a path that counts from the folder
 * in which the file of sums lies.
 */
export type Sums = ReadonlyMap<string, string>

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

export async function writeSums(path: string, sums: Sums): Promise<void> {
  const lines = [...sums].map(([name, hash]) => `${hash}  ${name}\n`)
  await writeFile(path, lines.join(''))
}

/** Undefined when there is no such file. @throws Error for a file that is damaged */
export async function readSums(path: string): Promise<Sums | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined
    throw thrown
  }
  const sums = new Map<string, string>()
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue
    const match = /^([0-9a-f]{64}) [ *](.+)$/i.exec(line)
    const [, hash, name] = match ?? []
    if (hash === undefined || name === undefined) {
      throw new Error(`${path}: line ${index + 1} is not as sha256sum writes it`)
    }
    sums.set(name, hash.toLowerCase())
  }
  return sums
}

/** @returns a sentence for each file that is not as it was */
export async function compareSums(folder: string, sums: Sums): Promise<string[]> {
  const faults: string[] = []
  for (const [name, wanted] of sums) {
    const path = join(folder, name)
    const found = await hashFile(path).catch((thrown: unknown) => {
      faults.push(`${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
      return undefined
    })
    if (found !== undefined && found !== wanted) {
      faults.push(`${path}: the file has the SHA-256 ${found}, it had ${wanted} when it was added`)
    }
  }
  return faults
}
