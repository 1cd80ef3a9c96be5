import { constants } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { unlessMissing } from '../../adapters/disk/files.ts'
import { readFacts } from '../../diffusion/checkpoint/facts.ts'
import { type Kind, kinds } from '../../diffusion/checkpoint/kinds.ts'
import { unusable } from '../../diffusion/checkpoint/usable.ts'
import { CheckpointError } from '../../diffusion/errors.ts'
import { checkFinite } from '../../diffusion/safetensors/check-finite.ts'
import { AppError } from '../../jobs/errors.ts'
import { sameName } from '../../jobs/offer.ts'
import { type Entry, listModels, vaesFor } from './list.ts'
import { checkName, extension, extensionOf, refusedName, weightsName } from './names.ts'
import { hashFile, type Sums, sumsBeside, writeSums } from './sums.ts'
import { checkMatte, checkModel } from './verify.ts'

/** A file, or a folder in diffusers layout, that waits beside the models under a name that ends with `.partial`. */
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
  /** Absent: detected from the file. */
  readonly kind?: Kind | undefined
}

/**
 * Checks a staged entry and gives it its name. Until then nothing is visible under that name, and afterwards it is
 * complete. An unusable entry is deleted; one whose name is taken is kept.
 * @throws CheckpointError, or AppError `model_invalid` or `invalid_request`
 */
export async function place(staged: Staged, { dir, name, kind: wanted }: PlaceOptions): Promise<Placed> {
  checkName(name)
  const kind = await examine(staged, wanted, dir).catch(async (thrown: unknown) => {
    await rm(staged.path, { recursive: true, force: true })
    throw thrown
  })
  await checkFree(dir, kind, name, staged.path)
  const folder = resolve(dir, kinds[kind].folder)
  await mkdir(folder, { recursive: true })
  const fileName = staged.folder ? name : `${name}${extensionOf(kind)}`
  const sums = [...staged.sums].map(
    ([file, hash]) => [file === '' ? fileName : `${fileName}/${file}`, hash] as const,
  )
  const path = join(folder, fileName)
  // a crash after this leaves sums without a file, which the next `add` overwrites
  await writeSums(sumsBeside({ path, name }), new Map(sums))
  await rename(staged.path, path)
  return { kind, name, path }
}

async function examine(staged: Staged, wanted: Kind | undefined, dir: string): Promise<Kind> {
  const facts = await readFacts(staged.path)
  const kind = wanted ?? (facts.kind === 'other' ? 'model' : facts.kind)
  const fault = unusable(staged.path, facts, kind)
  if (fault !== undefined) throw fault
  if (kind === 'model' && !(facts.model instanceof CheckpointError)) {
    const { needsVae } = facts.model
    const vae = needsVae ? vaesFor({ name: '', facts }, (await listModels(dir)).entries)[0] : undefined
    // a model without a VAE may come before its VAE does
    if (!needsVae || vae !== undefined) await checkModel(staged.path, vae?.path)
  }
  if (kind === 'matte') await checkMatte(staged.path)
  for (const file of kind === 'matte' ? [] : staged.sums.keys()) {
    if (file === '' || file.endsWith(extension)) await checkFinite(join(staged.path, file))
  }
  return kind
}

/** @throws AppError `invalid_request` when something of this kind has the name, in upper or lower case */
export async function checkFree(dir: string, kind: Kind, name: string, kept?: string): Promise<void> {
  const folder = resolve(dir, kinds[kind].folder)
  const files = await readdir(folder).catch(() => [])
  const taken = files.find(
    (file) => refusedName(file, kind) === undefined && sameName(weightsName(file) ?? file, name),
  )
  if (taken === undefined) return
  const rest = kept === undefined ? '' : ` The downloaded file is kept: add ${kept} under another name.`
  const message = `There is already ${kinds[kind].noun} ${taken} in ${folder}: remove it, or choose another name with --name.${rest}`
  throw new AppError('invalid_request', message, { param: 'name' })
}

/** Copies a file; where the file system supports it, the copy shares its blocks. */
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

/** Copies the wanted files of a model folder. Symbolic links, as in the hub's cache, become files. */
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
      throw new AppError('model_invalid', `${source} contains no model in diffusers layout.`)
    return { path: partial, folder: true, sums }
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    throw thrown
  }
}

/** Deletes an entry and the files beside it that belong to it. */
export async function removeEntry({
  path,
  name,
  kind,
}: Pick<Entry, 'path' | 'name' | 'kind'>): Promise<void> {
  await rm(path, { recursive: true })
  // files beside a file of a refused format belong to a different file of the same name
  if (refusedName(path, kind) !== undefined) return
  for (const beside of [`${name}.sha256`, `${name}.json`]) {
    await unlessMissing(unlink(join(dirname(path), beside)))
  }
}
