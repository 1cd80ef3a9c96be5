import { mkdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { type FolderLock, lockFolder } from '../adapters/disk/folder-lock.ts'
import { AppError } from '../jobs/errors.ts'
import { addFromHub } from './add-from-hub.ts'
import { addressName, DownloadError } from './download/addresses.ts'
import { isConfig, parseHubId } from './download/hub.ts'
import { type Added, type AddOptions, fetchFile, partialPath, placeFile } from './fetch-file.ts'
import { checkFree, place, stageFile, stageFolder } from './folder/install.ts'
import { checkName, kinds, safeName } from './folder/names.ts'
import { hashFile } from './folder/sums.ts'

/**
 * Brings a model, VAE, embedding or LoRA into the models folder: whole, inspected, and under its name, or not at all.
 * @throws DownloadError, AppError or the engine's error, each with a message for the person who asked
 */
export async function addModel(options: AddOptions): Promise<Added> {
  const { dir, name } = options
  if (name !== undefined) checkName(name)
  await mkdir(dir, { recursive: true })
  const lock = lockAdding(dir)
  try {
    return await add(options)
  } finally {
    lock.release()
  }
}

/** Two that fetch the same file would write into one another's partial file. */
function lockAdding(dir: string): FolderLock {
  try {
    return lockFolder(join(dir, '.adding.lock'), dir)
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause
    throw new AppError('unavailable', `Something else is being added to ${dir}: wait until it is there.`, {
      cause,
    })
  }
}

async function add(options: AddOptions): Promise<Added> {
  const { source } = options
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) return addAddress(options)
  const stats = await stat(source).catch(() => undefined)
  if (stats !== undefined) return addLocal(options, stats.isDirectory())
  const id = parseHubId(source)
  if (id !== undefined) return addFromHub(options, id)
  const message = `${source} is no file or folder that is there, no https address, and no Hugging Face id (owner/name or owner/name:file.safetensors).`
  throw new AppError('not_found', message)
}

async function addLocal(options: AddOptions, folder: boolean): Promise<Added> {
  const { dir, source, kind, inspect, sha256 } = options
  const name = options.name ?? safeName(basename(resolve(source)))
  // before gigabytes are copied
  const identity = await inspect.identify(source)
  const found = identity.kind === 'checkpoint' ? 'model' : identity.kind
  if (found !== 'other') await checkFree(dir, kind ?? found, name)
  if (folder && sha256 !== undefined) {
    throw new AppError('invalid_request', '--sha256 is for a single file; a folder has many.')
  }
  if (sha256 !== undefined) {
    const has = await hashFile(source)
    if (has !== sha256) {
      throw new AppError('model_invalid', `${source} has the SHA-256 ${has}, it should have ${sha256}.`)
    }
  }
  const partial = await partialPath(dir, name)
  const staged = folder
    ? await stageFolder(source, partial, (path) => isConfig(path) || isPart(path))
    : await stageFile(source, partial)
  return { placed: await place(staged, { dir, name, kind, inspect }), sha256: staged.sums.get('') }
}

function isPart(path: string): boolean {
  return path === 'model_index.json' || /^(text_encoder|unet|vae)\/[^/]+\.safetensors$/.test(path)
}

async function addAddress(options: AddOptions): Promise<Added> {
  const { dir, source, token, hub } = options
  if (!URL.canParse(source)) throw new DownloadError(`${source} is no address`)
  const url = new URL(source)
  if (/\.(ckpt|pt|pth|bin|pkl|gguf)$/i.test(url.pathname)) {
    const message = `${addressName(url)}: only .safetensors files are read; files of other formats can run code when they are opened.`
    throw new AppError('model_invalid', message)
  }
  const guess = options.name ?? safeName(addressName(url))
  for (const kind of options.kind === undefined ? kinds : [options.kind]) await checkFree(dir, kind, guess)
  const isHub = URL.canParse(hub.endpoint) && url.origin === new URL(hub.endpoint).origin
  const path = await partialPath(dir, guess)
  const got = await fetchFile(options, {
    url: source,
    path,
    label: guess,
    token: token ?? (isHub ? hub.token : undefined),
  })
  return placeFile(options, path, got, options.name ?? safeName(got.fileName))
}
