import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Copies of weights that are made again when they are needed: those of models that were removed, and of older versions. */

/** By the names that `keptCopy` and `packedSession` give; nothing else is touched. */
const copies = {
  packed: /^\w+-[0-9a-f]{24}(\.partial)?$/,
  text: /-[0-9a-f]{16}\.float32\.safetensors(\..+\.partial)?$/,
  unet: /-[0-9a-f]{16}\.(float32|int8)\.safetensors(\..+\.partial)?$/,
  vae: /-[0-9a-f]{16}\.(float32|int8)\.safetensors(\..+\.partial)?$/,
} as const

export const unusedDays = 30
const dayMs = 86_400_000

/**
 * Deletes the copies that were neither written nor opened for so long, and answers their bytes. A process that has them
 * mapped keeps them. Never rejects. Where the system does not note when files are read (`noatime`), age alone counts.
 * @param folder of the copies; it need not exist
 */
export async function removeUnused(folder: string, now = Date.now()): Promise<number> {
  let removed = 0
  for (const [part, name] of Object.entries(copies)) {
    const found = await readdir(join(folder, part)).catch(() => [])
    for (const each of found.filter((entry) => name.test(entry))) {
      const path = join(folder, part, each)
      const { bytes, usedAt } = await lookAt(path)
      if (now - usedAt < unusedDays * dayMs) continue
      // another process may be deleting it, or Windows may have it open
      const isGone = await rm(path, { recursive: true }).then(
        () => true,
        () => false,
      )
      if (isGone) removed += bytes
    }
  }
  return removed
}

/** Of a file, or of a folder with its files: when any was used last, in ms. One that is gone was used just now. */
async function lookAt(path: string): Promise<{ readonly bytes: number; readonly usedAt: number }> {
  const own = await stat(path).catch(() => undefined)
  if (own === undefined) return { bytes: 0, usedAt: Number.POSITIVE_INFINITY }
  if (!own.isDirectory()) return { bytes: own.size, usedAt: Math.max(own.atimeMs, own.mtimeMs) }
  const names = await readdir(path).catch(() => [])
  const inside = await Promise.all(names.map((name) => lookAt(join(path, name))))
  return {
    bytes: inside.reduce((sum, { bytes }) => sum + bytes, 0),
    usedAt: Math.max(own.mtimeMs, ...inside.map(({ usedAt }) => usedAt)),
  }
}
