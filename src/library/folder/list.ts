import type { Dirent, Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { type Identity, type Inspect, ownFamily } from './inspect.ts'
import { folderOf, type Kind, kinds, nameFault } from './names.ts'

/** One thing of the models folder. */
export interface Entry {
  readonly kind: Kind
  readonly name: string
  readonly path: string
  readonly bytes: number
  /** Such as `sd1`; undefined where it cannot be told. */
  readonly family: string | undefined
  readonly dtype: string | undefined
  readonly parameters: number | undefined
  /** Why it cannot be used, in words. */
  readonly problem?: string
}

export interface Listing {
  /** By kind and name. */
  readonly entries: readonly Entry[]
  /** Paths of downloads that wait to be gone on with, and their bytes. */
  readonly partials: readonly { readonly path: string; readonly bytes: number }[]
}

interface Found {
  readonly kind: Kind
  readonly name: string
  readonly path: string
  readonly folder: boolean
}

/**
 * What is in a models folder: NAME/ and NAME.safetensors are models, those in vae/, embeddings/ and loras/ are what the
 * folder says. What is damaged, of another family, or in the wrong place is listed with its problem, and keeps nothing
 * else from being listed. A folder that is not there is empty.
 */
export async function listModels(dir: string, inspect: Inspect, cache?: IdentityCache): Promise<Listing> {
  const root = resolve(dir)
  const found: Found[] = []
  const partials: { path: string; bytes: number }[] = []
  for (const kind of kinds) {
    const folder = join(root, folderOf[kind])
    for (const entry of await entriesOf(folder)) {
      const path = join(folder, entry.name)
      const stats = await stat(path).catch(() => undefined)
      if (stats === undefined) continue
      if (entry.name.endsWith('.partial')) partials.push({ path, bytes: await bytesOf(path, stats) })
      else {
        const one = recognise(kind, entry.name, path, stats)
        if (one !== undefined) found.push(one)
      }
    }
  }
  const entries: Entry[] = []
  for (const one of found) entries.push(await describe(one, found, inspect, cache))
  entries.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || a.name.localeCompare(b.name, 'en'))
  return { entries, partials }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return []
    throw thrown
  }
}

/** Undefined for what is none of ours: hidden files, sums, defaults, notes. */
function recognise(kind: Kind, fileName: string, path: string, stats: Stats): Found | undefined {
  if (fileName.startsWith('.')) return undefined
  if (stats.isDirectory()) {
    const isModel = kind === 'model' && !Object.values(folderOf).includes(fileName)
    return isModel ? { kind, name: fileName, path, folder: true } : undefined
  }
  // other formats are listed too, with the reason why they are not read
  const match = /^(.+)\.(safetensors|ckpt|pt|pth|bin|gguf)$/i.exec(fileName)
  return match === null ? undefined : { kind, name: match[1] as string, path, folder: false }
}

async function describe(
  one: Found,
  all: readonly Found[],
  inspect: Inspect,
  cache: IdentityCache | undefined,
): Promise<Entry> {
  const { kind, name, path } = one
  const stats = await stat(path).catch(() => undefined)
  const bytes = stats === undefined ? 0 : await bytesOf(path, stats)
  const common = { kind, name, path, bytes }
  let identity: Identity | undefined
  let problem = clash(one, all) ?? nameProblem(name)
  try {
    const stamp = `${stats?.ino} ${stats?.mtimeMs} ${bytes}`
    identity = await (cache?.get(path, stamp, inspect) ?? inspect.identify(path))
    problem ??= wrongPlace(kind, identity)
  } catch (thrown) {
    problem ??= thrown instanceof Error ? thrown.message : String(thrown)
  }
  const { family, dtype, parameters } = identity ?? {}
  return { ...common, family, dtype, parameters, ...(problem !== undefined && { problem }) }
}

function nameProblem(name: string): string | undefined {
  const fault = nameFault(name)
  return fault === undefined ? undefined : `${fault}; rename it`
}

/** Two names that differ in case alone would be one on other file systems, and are one in prompts. */
function clash(one: Found, all: readonly Found[]): string | undefined {
  const others = all.filter(
    (each) => each !== one && each.kind === one.kind && each.name.toLowerCase() === one.name.toLowerCase(),
  )
  if (others.length === 0) return undefined
  return `${[one, ...others].map(({ path }) => basename(path)).join(' and ')} have the same name; rename all but one`
}

/** Why a file of this identity cannot be what its folder says; undefined when it can. */
export function wrongPlace(kind: Kind, { kind: found, family, description }: Identity): string | undefined {
  const wanted = kind === 'model' ? 'checkpoint' : kind
  if (found === wanted && family === ownFamily) return undefined
  const right = found === 'checkpoint' ? 'model' : found
  if (right === 'other' || family !== ownFamily) {
    return `this is ${description}, which cannot be used: only what is for Stable Diffusion 1.x can`
  }
  const place = folderOf[right] === '' ? 'the models folder itself' : `${folderOf[right]}/`
  return `this is ${description}, not a ${kind}; put it into ${place}`
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

/** What files were when they were last read, so that listing a folder again reads only what changed. */
export class IdentityCache {
  readonly #known = new Map<string, { stamp: string; identity: Promise<Identity> }>()

  get(path: string, stamp: string, inspect: Inspect): Promise<Identity> {
    const known = this.#known.get(path)
    if (known?.stamp === stamp) return known.identity
    const identity = inspect.identify(path)
    this.#known.set(path, { stamp, identity })
    return identity
  }
}
