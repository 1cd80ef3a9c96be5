import { mkdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { type FolderLock, lockFolder } from '../adapters/disk/folder-lock.ts'
import { readFacts } from '../diffusion/checkpoint/facts.ts'
import { kindNames } from '../diffusion/checkpoint/kinds.ts'
import { AppError } from '../jobs/errors.ts'
import { addFromHub } from './add-from-hub.ts'
import { addressName, parseAddress } from './download/addresses.ts'
import { isConfig, parseHubId } from './download/hub.ts'
import { type Added, type AddOptions, checkFormat, fetchFile, partialPath, placeFile } from './fetch-file.ts'
import { checkFree, place, stageFile, stageFolder } from './folder/install.ts'
import { checkName, safeName } from './folder/names.ts'
import { hashFile } from './folder/sums.ts'

/**
 * Adds a model, VAE, embedding or LoRA to the models folder: complete, checked, and under its name, or not at all.
 * @throws DownloadError, AppError or CheckpointError, each with a message for the user
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

/** Two processes that fetch the same file would write to the same partial file. */
function lockAdding(dir: string): FolderLock {
  try {
    return lockFolder(join(dir, '.adding.lock'), dir)
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause
    throw new AppError(
      'unavailable',
      `Another process is adding a file to ${dir}: wait until it is finished.`,
      {
        cause,
      },
    )
  }
}

async function add(options: AddOptions): Promise<Added> {
  const { source } = options
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) return addAddress(options)
  const stats = await stat(source).catch(() => undefined)
  if (stats !== undefined) return addLocal(options, stats.isDirectory())
  const id = parseHubId(source)
  if (id !== undefined) return addFromHub(options, id)
  checkFormat(source)
  const message = `${source} is not an existing file or folder, an https URL or a Hugging Face id (owner/name or owner/name:file.safetensors).`
  throw new AppError('not_found', message)
}

async function addLocal(options: AddOptions, folder: boolean): Promise<Added> {
  const { dir, source, kind, sha256 } = options
  const name = options.name ?? safeName(basename(resolve(source)))
  // before gigabytes are copied
  const facts = await readFacts(source)
  if (facts.kind !== 'other') await checkFree(dir, kind ?? facts.kind, name)
  if (folder && sha256 !== undefined) {
    throw new AppError('invalid_request', '--sha256 applies to a single file, not to a folder.')
  }
  if (sha256 !== undefined) {
    const has = await hashFile(source)
    if (has !== sha256) {
      throw new AppError('model_invalid', `${source} has the SHA-256 ${has}, but ${sha256} was expected.`)
    }
  }
  const partial = await partialPath(dir, name)
  const staged = folder
    ? await stageFolder(source, partial, (path) => isConfig(path) || isPart(path))
    : await stageFile(source, partial)
  return { placed: await place(staged, { dir, name, kind }), sha256: staged.sums.get('') }
}

function isPart(path: string): boolean {
  return path === 'model_index.json' || /^(text_encoder|unet|vae)\/[^/]+\.safetensors$/.test(path)
}

async function addAddress(options: AddOptions): Promise<Added> {
  const { dir, source, token, hub } = options
  const url = parseAddress(source)
  checkFormat(addressName(url), options.kind)
  const guess = options.name ?? safeName(addressName(url))
  for (const kind of options.kind === undefined ? kindNames : [options.kind])
    await checkFree(dir, kind, guess)
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
