/** What an installation offers: a request is checked against it, and API and page show it. */

export interface Offer {
  /** The default first. Never empty. */
  readonly models: readonly ModelInfo[]
  readonly vaes: readonly AddOn[]
  readonly loras: readonly AddOn[]
  /** Textual inversions: their names work in prompts; there is no field for them. */
  readonly embeddings: readonly AddOn[]
  readonly samplers: SamplerNames
}

/** A model with its limits and defaults. */
export interface ModelInfo {
  readonly name: string
  /** `sd1`: add-ons fit only models of their own family. */
  readonly family: string
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidance_scale: number
  /** Width and height are multiples of this. */
  readonly size_multiple: number
  /** Layers of the text encoder: the maximum of `clip_skip`. */
  readonly clip_layers: number
  /** It can start from a picture: its VAE has an encoder. */
  readonly image_to_image: boolean
  /** It was trained for inpainting, and requires a picture. */
  readonly inpainting: boolean
  /** What it was trained for and can draw, in a sentence or two. */
  readonly description?: string
  /** Prompts to begin with. */
  readonly examples?: readonly string[]
  /** What it can draw, as people call it. */
  readonly subjects?: readonly string[]
  /** The words that name what it draws, in lower case; absent if no list could hold them. */
  readonly words?: ReadonlySet<string>
}

/** A file that changes what a model does. */
export interface AddOn {
  readonly name: string
  readonly family: string
  readonly description?: string
}

/** A sampler as a model offers it. */
export interface SamplerInfo {
  readonly name: string
  /** As people know it: `DPM++ 2M`. */
  readonly label: string
  /** Other programs' names for it. */
  readonly aliases: readonly string[]
  readonly schedules: readonly string[]
  /** One of `schedules`. */
  readonly default_schedule: string
  /** Maximum number of steps. */
  readonly max_steps?: number
}

/** The engine's lists of samplers, and the names that other programs have for them. */
export interface SamplerNames {
  /** A sampler by any of its names; "DPM++ 2M Karras" names a schedule too. Undefined if no sampler has that name. */
  parse(text: string): { readonly sampler: string; readonly schedule?: string } | undefined
  /** `automatic` is the sampler's default. Undefined if no schedule has that name. */
  parseSchedule(text: string): string | undefined
  /** The default first. Never empty. */
  of(model: ModelInfo): readonly SamplerInfo[]
}

/** Names that differ only in case are one name: some file systems, and prompts, cannot distinguish them. */
export function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** Undefined if there is no entry of this name. */
export function findNamed<T extends { readonly name: string }>(
  entries: readonly T[],
  name: string,
): T | undefined {
  return entries.find((entry) => sameName(entry.name, name))
}
