import type { Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { unlessMissing } from '../../adapters/disk/files.ts'
import { type CheckpointFacts, readFacts } from '../../diffusion/checkpoint/facts.ts'
import { type Kind, kindNames, kinds, refusal } from '../../diffusion/checkpoint/kinds.ts'
import { foreignName } from '../../diffusion/safetensors/foreign-file.ts'
import { messageOf } from '../../jobs/errors.ts'
import { sameName } from '../../jobs/offer.ts'
import type { FactsCache } from './facts-cache.ts'
import { kindFolders, nameFault, weightsName } from './names.ts'

/** One entry of the models folder. */
export interface Entry {
  readonly kind: Kind
  readonly name: string
  readonly path: string
  readonly bytes: number
  /** Undefined for a file that is damaged or of an unsupported format. */
  readonly facts: CheckpointFacts | undefined
  /** Why it cannot be used, in words. */
  readonly problem?: string
}

export interface Listing {
  /** By kind and name. */
  readonly entries: readonly Entry[]
  /** Paths of unfinished downloads, and their bytes. */
  readonly partials: readonly { readonly path: string; readonly bytes: number }[]
}

interface Found {
  readonly kind: Kind
  readonly name: string
  readonly path: string
}

/**
 * Lists a models folder: NAME/ and NAME.safetensors are models, files in vae/, embeddings/ and loras/ are of their
 * folder's kind. A file that is damaged, of a different family, or in the wrong place is listed with its problem and
 * does not affect the rest. A missing folder counts as empty.
 */
export async function listModels(dir: string, cache?: FactsCache): Promise<Listing> {
  const root = resolve(dir)
  const found: Found[] = []
  const partials: { path: string; bytes: number }[] = []
  for (const kind of kindNames) {
    const folder = join(root, kinds[kind].folder)
    for (const fileName of (await unlessMissing(readdir(folder))) ?? []) {
      const path = join(folder, fileName)
      const stats = await stat(path).catch(() => undefined)
      if (stats === undefined) continue
      if (fileName.endsWith('.partial')) partials.push({ path, bytes: await bytesOf(path, stats) })
      else {
        const one = recognise(kind, fileName, path, stats)
        if (one !== undefined) found.push(one)
      }
    }
  }
  const entries: Entry[] = []
  for (const one of found) entries.push(await describe(one, found, cache))
  entries.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, 'en'))
  return { entries, partials }
}

function rank({ kind }: Entry): number {
  return kindNames.indexOf(kind)
}

/** Undefined for other files: hidden ones, sums, defaults, notes. */
function recognise(kind: Kind, fileName: string, path: string, stats: Stats): Found | undefined {
  if (fileName.startsWith('.')) return undefined
  if (stats.isDirectory()) {
    const isModel = kinds[kind].folders && !kindFolders.includes(fileName)
    return isModel ? { kind, name: fileName, path } : undefined
  }
  // refused formats are listed too, with the reason
  const name = weightsName(fileName)
  return name === undefined ? undefined : { kind, name, path }
}

async function describe(one: Found, all: readonly Found[], cache: FactsCache | undefined): Promise<Entry> {
  const { kind, name, path } = one
  const stats = await stat(path).catch(() => undefined)
  const bytes = stats === undefined ? 0 : await bytesOf(path, stats)
  let facts: CheckpointFacts | undefined
  let problem = clash(one, all) ?? nameProblem(name)
  try {
    facts = await (cache?.get(path) ?? readFacts(path))
    problem ??= kindProblem(kind, facts)
  } catch (thrown) {
    problem ??= messageOf(thrown)
  }
  return { kind, name, path, bytes, facts, ...(problem !== undefined && { problem }) }
}

/** Why a file cannot be of its folder's kind; undefined if it can. */
function kindProblem(kind: Kind, facts: CheckpointFacts): string | undefined {
  const misplaced = refusal(kind, facts)
  if (misplaced !== undefined) return misplaced
  return kind === 'model' && facts.model instanceof Error ? facts.model.message : undefined
}

function nameProblem(name: string): string | undefined {
  const fault = nameFault(name)
  return fault === undefined ? undefined : `${fault}; rename it`
}

/** Two names that differ only in case are the same on other file systems, and in prompts. */
function clash(one: Found, all: readonly Found[]): string | undefined {
  // a file of a refused format takes no name: it may be beside the file that replaces it
  const others = all.filter(
    (each) =>
      each !== one &&
      each.kind === one.kind &&
      sameName(each.name, one.name) &&
      foreignName(each.path) === undefined,
  )
  if (others.length === 0 || foreignName(one.path) !== undefined) return undefined
  return `${[one, ...others].map(({ path }) => basename(path)).join(' and ')} have the same name; rename all but one`
}

/** Of a file, or of all files of a folder. */
async function bytesOf(path: string, stats: Stats): Promise<number> {
  if (!stats.isDirectory()) return stats.size
  let sum = 0
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    if (entry.isDirectory()) continue
    sum += (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0
  }
  return sum
}
