import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DownloadError } from './addresses.ts'

/** Kept free on the disk for everything else. */
const spareBytes = 64 * 2 ** 20

interface SpaceOptions {
  readonly path: string
  readonly freeBytes?: (folder: string) => Promise<number>
}

/** @throws DownloadError when the disk of `path` has no room for that many more bytes */
export async function checkSpace({ path, freeBytes = freeOn }: SpaceOptions, needed: number): Promise<void> {
  const folder = dirname(path)
  const free = await freeBytes(folder)
  if (needed + spareBytes <= free) return
  throw new DownloadError(
    `${folder}: the rest of the file needs ${megabytes(needed)}, but the disk has ${megabytes(free)} free; free some space and add it again`,
  )
}

async function freeOn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
