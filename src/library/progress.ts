/** What a command reports while it downloads. */
export interface DownloadProgress {
  /** In bytes of one file. `total` is undefined if the server does not announce it. */
  update(label: string, done: number, total: number | undefined): void
  /** A line that stays. */
  note(text: string): void
}

export function readableBytes(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}
