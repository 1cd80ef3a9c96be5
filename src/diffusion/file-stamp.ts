import { stat } from 'node:fs/promises'

/**
 * Identifies one state of a file: a file that was replaced or written to has a different stamp. Compare stamps with
 * `===`; for several files, join them.
 */
export type FileStamp = string

/** The parts of a stamp, from `stat` with `bigint`: milliseconds are too coarse. */
interface Stats {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
}

export function stampOf({ ino, size, mtimeNs }: Stats): FileStamp {
  return `${ino} ${size} ${mtimeNs}`
}

/** For stamps that outlive the process: some file systems renumber inodes at each mount, so they are left out. */
export function lastingStampOf({ size, mtimeNs }: Omit<Stats, 'ino'>): FileStamp {
  return `${size} ${mtimeNs}`
}

/** The current stamp of a file or folder; undefined if it is missing or inaccessible. */
export async function fileStamp(path: string): Promise<FileStamp | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined)
  return stats && stampOf(stats)
}
