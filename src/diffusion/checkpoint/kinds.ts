import type { LoraFacts } from '../lora/facts.ts'
import { type Family, families } from './families.ts'

/** The one table of what a models folder can contain: a new kind is an entry here and a rule in `classify`. */
export const kinds = {
  model: { noun: 'a model', folder: '', families: ['sd1'], folders: true },
  vae: { noun: 'a VAE', folder: 'vae', families: ['sd1'], folders: false },
  embedding: { noun: 'an embedding', folder: 'embeddings', families: ['sd1'], folders: false },
  lora: { noun: 'a LoRA', folder: 'loras', families: ['sd1'], folders: false },
  upscaler: { noun: 'an upscaler', folder: 'upscalers', families: ['any'], folders: false },
  matte: { noun: 'a matting network', folder: 'matte', families: ['any'], folders: false },
  tiny_vae: { noun: 'a tiny VAE', folder: 'tiny_vae', families: ['sd1'], folders: false },
} as const satisfies Readonly<Record<string, KindEntry>>

interface KindEntry {
  /** With its article, for sentences. */
  readonly noun: string
  /** Its folder within the models folder; empty for the models folder itself. */
  readonly folder: string
  /** The families that the engine can use. */
  readonly families: readonly Family[]
  /** Whether it may be a folder in diffusers layout as well as a file. */
  readonly folders: boolean
}

export type Kind = keyof typeof kinds

/** In the order in which they are listed. */
export const kindNames = Object.keys(kinds) as readonly Kind[]

/** What a file is, by its keys and shapes. */
export interface Classified {
  readonly kind: Kind | 'other'
  readonly family: Family
  /** For a sentence that begins with "this is". */
  readonly description: string
  /** Of a LoRA: what else its header shows. */
  readonly lora?: LoraFacts
}

/** Why a file cannot be used as the wanted kind, without the file's name; undefined if it can. */
export function refusal(wanted: Kind, { kind, family, description, lora }: Classified): string | undefined {
  if (lora?.problem !== undefined) return `this is ${lora.problem}`
  if (kind === 'other' && family === 'any') return `this is ${description}`
  if (kind === 'other' || !isUsable(kind, family)) {
    return `this is ${description}, which cannot be used; only ${families.sd1.name} is supported`
  }
  if (kind === wanted) return undefined
  const { folder } = kinds[kind]
  const place = folder === '' ? 'the models folder itself' : `${folder}/ in the models folder`
  return `this is ${description}, not ${kinds[wanted].noun}; put it in ${place}`
}

function isUsable(kind: Kind, family: Family): boolean {
  const usable: readonly Family[] = kinds[kind].families
  return usable.includes(family)
}
