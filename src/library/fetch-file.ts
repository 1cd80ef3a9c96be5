import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Kind } from '../diffusion/checkpoint/kinds.ts'
import { AppError } from '../jobs/errors.ts'
import { DownloadError } from './download/addresses.ts'
import { type Downloaded, download } from './download/download.ts'
import type { HubOptions, WeightsPrecision } from './download/hub.ts'
import { type Placed, place, type Staged } from './folder/install.ts'
import { refusedName } from './folder/names.ts'
import type { DownloadProgress } from './progress.ts'

export interface AddOptions {
  /** The models folder. */
  readonly dir: string
  /** A file, a folder, a URL or a hub id. */
  readonly source: string
  readonly name: string | undefined
  readonly kind: Kind | undefined
  readonly sha256: string | undefined
  /** For the host of the URL; for the hub it replaces the hub's own token. */
  readonly token: string | undefined
  readonly hub: HubOptions
  readonly precision: WeightsPrecision
  readonly progress: DownloadProgress
}

/** `sha256` is given for a single file. */
export interface Added {
  readonly placed: Placed
  readonly sha256: string | undefined
}

/** @throws AppError `model_invalid` if files of this name are refused whatever their content */
export function checkFormat(fileName: string, kind?: Kind): void {
  const foreign = refusedName(fileName, kind)
  if (foreign !== undefined) throw new AppError('model_invalid', `${fileName}: ${foreign}`)
}

/** Checks a downloaded file and moves it to its place. A file that cannot be used is deleted. */
export async function placeFile(
  { dir, kind }: AddOptions,
  path: string,
  got: Downloaded,
  name: string,
): Promise<Added> {
  try {
    checkFormat(got.fileName, kind)
  } catch (refused) {
    await rm(path)
    throw refused
  }
  const staged: Staged = { path, folder: false, sums: new Map([['', got.sha256]]) }
  return { placed: await place(staged, { dir, name, kind }), sha256: got.sha256 }
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
      `${label}: the server announces the SHA-256 ${file.sha256}, but ${options.sha256} was expected`,
    )
  }
  return download({
    ...file,
    sha256: options.sha256 ?? file.sha256,
    onProgress: (done, total) => progress.update(label, done, total),
    onNote: (text) => progress.note(`${label}: ${text}`),
  })
}

/** Beside the models, so that one rename moves it to its place. */
export async function partialPath(dir: string, name: string): Promise<string> {
  await mkdir(dir, { recursive: true })
  return join(resolve(dir), `${name}.partial`)
}
