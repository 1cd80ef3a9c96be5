import type { Dirent } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Kind, kindNames, kinds } from '../../diffusion/checkpoint/kinds.ts'
import { messageOf } from '../../jobs/errors.ts'
import { kindFolders, weightsName } from './names.ts'

/** A file or model folder that is somebody's entry, whatever is in it. */
export interface Found {
  readonly kind: Kind
  readonly name: string
  readonly path: string
}

export interface Walk {
  readonly found: readonly Found[]
  /** Paths of unfinished downloads. */
  readonly partials: readonly string[]
  /** For the operator: what was not searched, and why; in whole sentences. */
  readonly remarks: readonly string[]
}

/** What people sort their files by. */
const deepest = 4

/** Entries of one kind's folder, with its subfolders. */
const mostNames = 20_000

/** Folders that systems put everywhere. */
const systemFolders = ['lost+found', '$RECYCLE.BIN', 'System Volume Information', '@eaDir', '__MACOSX']

/** The parts of a model in diffusers layout. */
const partFolders = ['text_encoder', 'unet', 'vae', 'tokenizer', 'scheduler']

/**
 * Finds what a models folder contains: NAME/ and NAME.safetensors are models, files in vae/, embeddings/, loras/, matte/ ... are
 * of their folder's kind; all of them may be sorted into subfolders, which are no part of the name. Nothing that cannot
 * be read keeps anything else from being found, and links to folders elsewhere are not followed. A missing folder counts
 * as empty.
 */
export async function walk(dir: string): Promise<Walk> {
  const search = new Search()
  const root = resolve(dir)
  for (const kind of kindNames) await search.kind(kind, join(root, kinds[kind].folder))
  return search
}

/** The files of a model folder that are read, with their real or missing state left open. */
export async function modelFiles(folder: string): Promise<string[]> {
  const files = ['model_index.json', 'packshot.json'].map((name) => join(folder, name))
  for (const part of partFolders) {
    const names = await readdir(join(folder, part)).catch(() => [])
    files.push(...names.sort().map((name) => join(folder, part, name)))
  }
  return files
}

class Search implements Walk {
  readonly found: Found[] = []
  readonly partials: string[] = []
  readonly remarks: string[] = []
  #names = 0

  async kind(kind: Kind, folder: string): Promise<void> {
    this.#names = 0
    await this.#folder(kind, folder, 0)
  }

  async #folder(kind: Kind, folder: string, depth: number): Promise<void> {
    for (const entry of await this.#read(folder)) {
      const { name } = entry
      this.#names += 1
      if (this.#names > mostNames) {
        this.remarks.push(`${folder}: there are more than ${mostNames} files; the rest is not searched`)
        return
      }
      const path = join(folder, name)
      if (name.endsWith('.partial')) {
        if (depth === 0) this.partials.push(path)
      } else if (!name.startsWith('.')) await this.#entry(kind, path, entry, depth)
    }
  }

  async #entry(kind: Kind, path: string, entry: Dirent, depth: number): Promise<void> {
    const stats = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (stats?.isDirectory()) await this.#directory(kind, path, entry, depth)
    else if (stats?.isFile()) {
      // refused formats are listed too, with the reason
      const name = weightsName(entry.name)
      if (name !== undefined) this.found.push({ kind, name, path })
    }
  }

  async #directory(kind: Kind, path: string, entry: Dirent, depth: number): Promise<void> {
    const { name } = entry
    const { folder, folders } = kinds[kind]
    if (systemFolders.includes(name)) return
    if (folder === '' && depth === 0 && kindFolders.includes(name)) return
    if (folders && (await exists(join(path, 'model_index.json')))) {
      this.found.push({ kind, name, path })
    } else if (entry.isSymbolicLink()) {
      this.remarks.push(`${path}: links to other folders are not searched; link its files, or move them here`)
    } else if (depth >= deepest) {
      this.remarks.push(`${path}: folders this deep are not searched`)
    } else {
      const before = this.found.length
      const part = folders ? await firstPart(path) : undefined
      if (part === undefined) await this.#folder(kind, path, depth + 1)
      // an empty or incomplete model folder: opening it says what is missing
      if (folders && this.found.length === before) this.found.push({ kind, name, path })
    }
  }

  async #read(folder: string): Promise<Dirent[]> {
    try {
      const entries = await readdir(folder, { withFileTypes: true })
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    } catch (thrown) {
      const missing = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'
      if (!missing) this.remarks.push(`${folder}: it cannot be searched (${messageOf(thrown)})`)
      return []
    }
  }
}

/** Its files are no models of their own. */
async function firstPart(folder: string): Promise<string | undefined> {
  for (const part of ['unet', 'text_encoder', 'transformer'])
    if (await exists(join(folder, part))) return part
  return undefined
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
