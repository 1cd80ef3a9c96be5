import { stat } from 'node:fs/promises'

/**
 * Tells one state of a file from another: a file that was replaced or written to has another stamp. Compared with
 * `===`, and joined where several files count.
 */
export type FileStamp = string

/** What a stamp is made of: `stat` with `bigint`, because milliseconds are too coarse. */
interface Stats {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
}

export function stampOf({ ino, size, mtimeNs }: Stats): FileStamp {
  return `${ino} ${size} ${mtimeNs}`
}

/** For what outlives the process: some file systems number their files anew at each mount, so inodes do not count. */
export function lastingStampOf({ size, mtimeNs }: Omit<Stats, 'ino'>): FileStamp {
  return `${size} ${mtimeNs}`
}

/** The stamp of a file or folder as it is now; undefined when there is none, or it cannot be looked at. */
export async function fileStamp(path: string): Promise<FileStamp | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined)
  return stats && stampOf(stats)
}
