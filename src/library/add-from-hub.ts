import { mkdir, rename, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { kindNames } from '../diffusion/checkpoint/kinds.ts'
import { AppError } from '../jobs/errors.ts'
import { DownloadError } from './download/addresses.ts'
import { chooseFiles, type HubFile, type HubId, listHub } from './download/hub.ts'
import { type Added, type AddOptions, fetchFile, partialPath, placeFile } from './fetch-file.ts'
import { checkFree, place, type Staged } from './folder/install.ts'
import { extension, safeName } from './folder/names.ts'
import { hashFile } from './folder/sums.ts'
import { readableBytes } from './progress.ts'

/** Adds one file of a hub, or the files that are read of a model in diffusers layout. */
export async function addFromHub(options: AddOptions, id: HubId): Promise<Added> {
  const { dir, token, hub, precision, progress } = options
  const access = { ...hub, token: token ?? hub.token }
  const shown = `${id.owner}/${id.name}`
  const files = await listHub(id, access)
  if (id.file !== undefined) {
    const file = files.find(({ path }) => path === id.file)
    if (file === undefined) {
      const there = files.map(({ path }) => path).filter((path) => path.endsWith(extension))
      throw new DownloadError(
        `${shown} has no file ${id.file}; it has ${there.join(', ') || 'no .safetensors files'}`,
      )
    }
    const name = options.name ?? safeName(nameOf(file.path, id.name))
    for (const kind of options.kind === undefined ? kindNames : [options.kind])
      await checkFree(dir, kind, name)
    const path = await partialPath(dir, name)
    const got = await fetchFile(options, { ...file, path, label: name, token: access.token })
    return placeFile(options, path, got, name)
  }
  if (options.sha256 !== undefined) {
    throw new AppError(
      'invalid_request',
      '--sha256 applies to a single file; for a model the hub provides the hashes.',
    )
  }
  const name = options.name ?? safeName(id.name)
  await checkFree(dir, 'model', name)
  const wanted = chooseFiles(files, precision, shown)
  const weights = wanted.filter(({ path }) => path.endsWith(extension))
  const bytes = wanted.reduce((sum, { size }) => sum + size, 0)
  progress.note(
    `${shown}: ${wanted.length} files, ${readableBytes(bytes)}; weights: ${weights.map(({ path }) => path).join(', ')}`,
  )
  const folder = await partialPath(dir, name)
  const sums = new Map<string, string>()
  for (const file of wanted) sums.set(file.path, await fetchInto(options, folder, file, access.token))
  const staged: Staged = { path: folder, folder: true, sums }
  return { placed: await place(staged, { dir, name, kind: options.kind }), sha256: undefined }
}

/** Names that diffusers gives all its files: the repository's says more. */
const generalNames = ['pytorch_lora_weights.safetensors', 'diffusion_pytorch_model.safetensors']

function nameOf(path: string, repository: string): string {
  const file = basename(path)
  return generalNames.includes(file) ? `${repository}${extension}` : file
}

/** Fetches one file of a model folder, unless an earlier attempt already fetched all of it. @returns its hash */
async function fetchInto(
  options: AddOptions,
  folder: string,
  file: HubFile,
  token: string | undefined,
): Promise<string> {
  const target = join(folder, ...file.path.split('/'))
  const there = await stat(target).catch(() => undefined)
  if (there?.size === file.size) {
    const hash = await hashFile(target)
    if (hash === file.sha256) return hash
  }
  await mkdir(dirname(target), { recursive: true })
  const partial = `${target}.partial`
  const got = await fetchFile(options, { ...file, path: partial, label: file.path, token })
  await rename(partial, target)
  return got.sha256
}
