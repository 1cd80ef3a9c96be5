import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { type CheckpointFacts, readFacts } from '../../diffusion/checkpoint/facts.ts'
import { type Kind, kindNames } from '../../diffusion/checkpoint/kinds.ts'
import { misfit, unusable } from '../../diffusion/checkpoint/usable.ts'
import { CheckpointError } from '../../diffusion/errors.ts'
import { messageOf } from '../../jobs/errors.ts'
import { sameName } from '../../jobs/offer.ts'
import type { FactsCache } from './facts-cache.ts'
import { nameFault, refusedName } from './names.ts'
import { type Found, modelFiles, walk } from './walk.ts'

/** One entry of the models folder. */
export interface Entry {
  readonly kind: Kind
  readonly name: string
  readonly path: string
  readonly bytes: number
  /** Undefined for a file that is damaged or of an unsupported format. */
  readonly facts: CheckpointFacts | undefined
  /** Why it cannot be used; undefined if it can. */
  readonly problem?: Problem
  /** For the operator: what was passed over, in whole sentences. */
  readonly remarks: readonly string[]
}

/** Why a file cannot be used, to follow its name. */
interface Problem {
  /** For the operator: it may name paths and keys. */
  readonly detail: string
  /** For everybody. */
  readonly reason: string
}

export interface Listing {
  /** By kind and name. */
  readonly entries: readonly Entry[]
  /** Paths of unfinished downloads, and their bytes. */
  readonly partials: readonly { readonly path: string; readonly bytes: number }[]
  /** For the operator: what was not searched, and why; in whole sentences. */
  readonly remarks: readonly string[]
}

/**
 * Lists a models folder (see `walk`). A file that is damaged, of a different family, or in the wrong place is listed with
 * its problem and does not affect the rest.
 */
export async function listModels(dir: string, cache?: FactsCache): Promise<Listing> {
  const { found, partials, remarks } = await walk(dir)
  const entries: Entry[] = []
  for (const one of found) entries.push(await describe(one, found, cache))
  entries.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, 'en'))
  const unfinished = partials.map(async (path) => ({ path, bytes: await bytesOf(path) }))
  return {
    entries: entries.map((entry) => withVaeProblem(entry, entries)),
    partials: await Promise.all(unfinished),
    remarks,
  }
}

/** The VAEs that a model can use, of all entries; the one that has its name first. */
export function vaesFor(model: Pick<Entry, 'name' | 'facts'>, entries: readonly Entry[]): Entry[] {
  const described = model.facts?.model
  if (described === undefined || described instanceof Error) return []
  const fits = ({ kind, problem, facts }: Entry) =>
    kind === 'vae' && problem === undefined && facts !== undefined && misfit(facts, described) === undefined
  const own = ({ name }: Entry) => sameName(name, model.name) || sameName(name, `${model.name}.vae`)
  return entries.filter(fits).sort((a, b) => Number(own(b)) - Number(own(a)))
}

/** A model without a VAE can be used as long as there is a VAE that fits. */
function withVaeProblem(entry: Entry, entries: readonly Entry[]): Entry {
  const { facts, problem } = entry
  if (entry.kind !== 'model' || problem !== undefined || facts === undefined) return entry
  if (facts.model instanceof Error || !facts.model.needsVae || vaesFor(entry, entries).length > 0)
    return entry
  const reason =
    'this is a model without a VAE: put the file of a VAE that fits into vae/ in the models folder'
  return { ...entry, problem: { reason, detail: reason } }
}

function rank({ kind }: Entry): number {
  return kindNames.indexOf(kind)
}

async function describe(one: Found, all: readonly Found[], cache: FactsCache | undefined): Promise<Entry> {
  const { kind, name, path } = one
  const bytes = await bytesOf(path)
  const fault = clash(one, all) ?? nameProblem(name)
  let facts: CheckpointFacts | undefined
  let problem: Problem | undefined = fault === undefined ? undefined : { detail: fault, reason: fault }
  try {
    facts = await (cache?.get(path) ?? readFacts(path))
    problem ??= problemOf(path, unusable(path, facts, kind))
  } catch (thrown) {
    // a file of another system's error, such as one that may not be read
    const reason = thrown instanceof CheckpointError ? thrown.reason : 'the file cannot be read'
    problem ??= { detail: messageOf(thrown), reason }
  }
  return { kind, name, path, bytes, facts, remarks: facts?.remarks ?? [], ...(problem && { problem }) }
}

function problemOf(path: string, fault: CheckpointError | undefined): Problem | undefined {
  if (fault === undefined) return undefined
  const { message, reason } = fault
  // the list names the file already
  return { reason, detail: message === `${path}: ${reason}` ? reason : message }
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
      refusedName(each.path, each.kind) === undefined,
  )
  if (others.length === 0 || refusedName(one.path, one.kind) !== undefined) return undefined
  return `${[one, ...others].map(({ path }) => basename(path)).join(' and ')} have the same name; rename all but one`
}

/** Of a file, or of those files of a model folder that are read. */
async function bytesOf(path: string): Promise<number> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return 0
  if (!stats.isDirectory()) return stats.size
  let sum = 0
  for (const file of await modelFiles(path)) sum += (await stat(file).catch(() => undefined))?.size ?? 0
  return sum
}
