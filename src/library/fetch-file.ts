import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { DownloadError } from './download/addresses.ts'
import { type Downloaded, download } from './download/download.ts'
import type { HubOptions, WeightsPrecision } from './download/hub.ts'
import type { Inspect } from './folder/inspect.ts'
import { type Placed, place, type Staged } from './folder/install.ts'
import type { Kind } from './folder/names.ts'
import type { Progress } from './progress.ts'

export interface AddOptions {
  /** The models folder. */
  readonly dir: string
  /** A file, a folder, an address or a hub id. */
  readonly source: string
  readonly name: string | undefined
  readonly kind: Kind | undefined
  readonly sha256: string | undefined
  /** For the host of an address; for the hub in place of its own. */
  readonly token: string | undefined
  readonly hub: HubOptions
  readonly precision: WeightsPrecision
  readonly inspect: Inspect
  readonly progress: Progress
}

/** `sha256` is that of a single file. */
export interface Added {
  readonly placed: Placed
  readonly sha256: string | undefined
}

/** Gives a downloaded file its place. */
export async function placeFile(
  { dir, kind, inspect }: AddOptions,
  path: string,
  got: Downloaded,
  name: string,
): Promise<Added> {
  const staged: Staged = { path, folder: false, sums: new Map([['', got.sha256]]) }
  return { placed: await place(staged, { dir, name, kind, inspect }), sha256: got.sha256 }
}

interface Wanted {
  readonly url: string
  readonly path: string
  readonly label: string
  readonly token: string | undefined
  readonly size?: number
  readonly sha256?: string
}

export function fetchFile(options: AddOptions, { label, ...file }: Wanted): Promise<Downloaded> {
  const { progress } = options
  if (options.sha256 !== undefined && file.sha256 !== undefined && options.sha256 !== file.sha256) {
    throw new DownloadError(
      `${label}: the server says the file has the SHA-256 ${file.sha256}, it should have ${options.sha256}`,
    )
  }
  return download({
    ...file,
    sha256: options.sha256 ?? file.sha256,
    onProgress: (done, total) => progress.update(label, done, total),
    onNote: (text) => progress.note(`${label}: ${text}`),
  })
}

/** Beside the models, so that giving the name is one rename. */
export async function partialPath(dir: string, name: string): Promise<string> {
  await mkdir(dir, { recursive: true })
  return join(resolve(dir), `${name}.partial`)
}
