import { constants } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { AppError } from '../../jobs/errors.ts'
import type { Inspect } from './inspect.ts'
import { type Entry, wrongPlace } from './list.ts'
import { checkName, extension, folderOf, type Kind } from './names.ts'
import { hashFile, type Sums, writeSums } from './sums.ts'

/** What is on its way into the folder: a file, or a folder in diffusers layout, under a name that ends with `.partial`. */
export interface Staged {
  readonly path: string
  readonly folder: boolean
  /** Hashes of its files, by path within it; of a file, under the empty path. */
  readonly sums: Sums
}

export interface Placed {
  readonly kind: Kind
  readonly name: string
  readonly path: string
}

export interface PlaceOptions {
  readonly dir: string
  readonly name: string
  /** Absent: what the file is. */
  readonly kind?: Kind | undefined
  readonly inspect: Inspect
}

/**
 * Inspects what was staged and gives it its name. Until then nothing of it is seen under that name, and afterwards it is
 * whole. What cannot be used is deleted; what only lacks a free name is kept.
 * @throws what `inspect` throws, or AppError `model_invalid` or `invalid_request`
 */
export async function place(
  staged: Staged,
  { dir, name, kind: wanted, inspect }: PlaceOptions,
): Promise<Placed> {
  checkName(name)
  const kind = await examine(staged, wanted, inspect).catch(async (thrown: unknown) => {
    await rm(staged.path, { recursive: true, force: true })
    throw thrown
  })
  await checkFree(dir, kind, name, staged.path)
  const folder = resolve(dir, folderOf[kind])
  await mkdir(folder, { recursive: true })
  const fileName = staged.folder ? name : `${name}${extension}`
  const sums = [...staged.sums].map(
    ([file, hash]) => [file === '' ? fileName : `${fileName}/${file}`, hash] as const,
  )
  // a crash after this leaves sums of nothing, which the next `add` overwrites
  await writeSums(join(folder, `${name}.sha256`), new Map(sums))
  const path = join(folder, fileName)
  await rename(staged.path, path)
  return { kind, name, path }
}

async function examine(staged: Staged, wanted: Kind | undefined, inspect: Inspect): Promise<Kind> {
  const identity = await inspect.identify(staged.path)
  const found = identity.kind === 'checkpoint' ? 'model' : identity.kind
  const kind = wanted ?? (found === 'other' ? 'model' : found)
  const problem = wrongPlace(kind, identity)
  if (problem !== undefined) throw new AppError('model_invalid', `${staged.path}: ${problem}.`)
  if (kind === 'model') await inspect.checkModel(staged.path)
  for (const file of staged.sums.keys()) {
    if (file === '' || file.endsWith(extension)) await inspect.checkFinite(join(staged.path, file))
  }
  return kind
}

/** @throws AppError when something of this kind has the name, however it is spelled */
export async function checkFree(dir: string, kind: Kind, name: string, kept?: string): Promise<void> {
  const folder = resolve(dir, folderOf[kind])
  const files = await readdir(folder).catch(() => [])
  const taken = files.find((file) => {
    const stem = file.replace(/\.(safetensors|ckpt|pt|pth|bin|gguf)$/i, '')
    return stem.toLowerCase() === name.toLowerCase()
  })
  if (taken === undefined) return
  const rest = kept === undefined ? '' : ` What came is kept: add the file ${kept} with another name.`
  const message = `There is a ${kind} ${taken} in ${folder} already: remove it, or choose another name with --name.${rest}`
  throw new AppError('invalid_request', message, { param: 'name' })
}

/** Copies a file from elsewhere on this machine; where the file system can, the copy shares its blocks. */
export async function stageFile(source: string, partial: string): Promise<Staged> {
  await mkdir(dirname(partial), { recursive: true })
  try {
    await copyFile(source, partial, constants.COPYFILE_FICLONE)
    return { path: partial, folder: false, sums: new Map([['', await hashFile(partial)]]) }
  } catch (thrown) {
    await rm(partial, { force: true })
    throw thrown
  }
}

/** Copies those files of a model folder that `wanted` names. Symbolic links, as the hub's cache has, become files. */
export async function stageFolder(
  source: string,
  partial: string,
  wanted: (path: string) => boolean,
): Promise<Staged> {
  const sums = new Map<string, string>()
  try {
    await rm(partial, { recursive: true, force: true })
    for (const entry of await readdir(source, { recursive: true })) {
      const path = entry.replaceAll('\\', '/')
      if (!wanted(path) || !(await stat(join(source, path))).isFile()) continue
      await mkdir(dirname(join(partial, path)), { recursive: true })
      await copyFile(join(source, path), join(partial, path), constants.COPYFILE_FICLONE)
      sums.set(path, await hashFile(join(partial, path)))
    }
    if (sums.size === 0)
      throw new AppError('model_invalid', `${source} has no files of a model in diffusers layout.`)
    return { path: partial, folder: true, sums }
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    throw thrown
  }
}

/** Deletes an entry with what was kept beside it. */
export async function removeEntry({ path, name }: Pick<Entry, 'path' | 'name'>): Promise<void> {
  await rm(path, { recursive: true })
  for (const beside of [`${name}.sha256`, `${name}.json`]) {
    await unlink(join(dirname(path), beside)).catch((thrown: unknown) => {
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT')) throw thrown
    })
  }
}
