import { type Static, Type } from 'typebox'
import type { PaceRecipes } from './paces.ts'

/** What an installation offers: a request is checked against it, and API and page show it. */

export interface Offer {
  /** The default first. Never empty. */
  readonly models: readonly ModelInfo[]
  readonly vaes: readonly AddOn[]
  readonly loras: readonly AddOn[]
  /** Textual inversions: their names work in prompts; there is no field for them. */
  readonly embeddings: readonly AddOn[]
  /** They enlarge pictures of any model; absent: none. */
  readonly upscalers?: readonly AddOn[]
  /** Small decoders in place of the VAE's (`decoder`); absent: none. */
  readonly tiny_vaes?: readonly AddOn[]
  readonly samplers: SamplerNames
  /** Models that are there but cannot be used. */
  readonly unusable?: readonly { readonly name: string; readonly problem: string }[]
}

/** The public facts of a model: its limits and defaults, and its own description. */
export const ModelFacts = Type.Object({
  name: Type.String(),
  family: Type.String({ description: 'VAEs, LoRAs and embeddings fit models of their own family.' }),
  width: Type.Integer({ description: 'The default size, in pixels.' }),
  height: Type.Integer(),
  steps: Type.Integer(),
  guidance_scale: Type.Number(),
  size_multiple: Type.Integer({ description: 'Width and height must be multiples of this.' }),
  clip_layers: Type.Integer({ description: 'The maximum of `clip_skip`: layers of the text encoder.' }),
  image_to_image: Type.Boolean({
    description: 'It can start from a picture (`init_image`): its VAE has an encoder.',
  }),
  needs_vae: Type.Optional(
    Type.Boolean({
      description: 'It has no VAE of its own: `vae` is required, unless there is a `default_vae`.',
    }),
  ),
  default_vae: Type.Optional(
    Type.String({ description: 'The VAE of a model without its own that is used if `vae` is absent.' }),
  ),
  inpainting: Type.Boolean({ description: 'It only inpaints: `init_image` is required.' }),
  description: Type.Optional(Type.String({ description: 'What it was trained for and can draw.' })),
  examples: Type.Optional(Type.Array(Type.String(), { description: 'Prompts to begin with.' })),
  subjects: Type.Optional(
    Type.Array(Type.String(), { description: 'What it can draw. Absent: there is no such list.' }),
  ),
  controls: Type.Optional(
    Type.Record(Type.String(), Type.Record(Type.String(), Type.String()), {
      description:
        'Words for a prompt that it was trained on: of `light`, `view` and `count`, by what people call each choice.',
    }),
  ),
})

/** A model as requests are checked against it. */
export type ModelInfo = Immutable<Static<typeof ModelFacts>> & {
  /** The words that name what it draws, in lower case; absent for a model that knows more than a list could hold. */
  readonly words?: ReadonlySet<string>
  /** How many numbers its weights have. */
  readonly parameters?: number
  /** Its layers have sizes of their own, so that no LoRA for Stable Diffusion 1.x fits. */
  readonly own_widths?: true
}

type Immutable<Facts> = {
  readonly [Name in keyof Facts]: Facts[Name] extends string[] | undefined ? readonly string[] : Facts[Name]
}

/** A file that changes what a model does. */
export interface AddOn {
  readonly name: string
  readonly family: string
  readonly description?: string
  /** Why no model can use it, such as "this is a GLoRA, which is not supported"; absent if those that fit can. */
  readonly problem?: string
  /** Of a LoRA that was distilled to need few steps: the settings it was made for. */
  readonly paces?: PaceRecipes
  /** Of an upscaler that can be used. */
  readonly enlarges?: Enlarging
  /** By the names of models: why one cannot use it, to follow its name. Those that it fits are absent. */
  readonly misfits?: ReadonlyMap<string, string>
}

interface Enlarging {
  /** How many times as wide and high a picture becomes. */
  readonly scale: number
  /** Its work for a megapixel that goes in, in units (`work.ts`). */
  readonly units: number
}

/** The family of an add-on that works on finished pictures. */
const anyFamily = 'any'

/**
 * The one answer to "can this be used with this model?" for requests, the API and the page.
 * @returns why not, to follow its name ("The LoRA glossy ..."); undefined if it can
 */
export function whyNot(addOn: AddOn, model: ModelInfo): string | undefined {
  if (addOn.problem !== undefined) return `cannot be used: ${addOn.problem}`
  if (addOn.family !== model.family && addOn.family !== anyFamily)
    return `is of family ${addOn.family}, but the model ${model.name} is of family ${model.family}`
  return addOn.misfits?.get(model.name)
}

/** The names of the add-ons that a model can use. */
export function namesFor(model: ModelInfo, addOns: readonly AddOn[]): string[] {
  return addOns.filter((each) => whyNot(each, model) === undefined).map(({ name }) => name)
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
  /** How often it calls the model in each step; absent: once. */
  readonly calls_per_step?: number
  /** Its `eta` by default; absent: it has none. */
  readonly default_eta?: number
  /** It can be given its timesteps. */
  readonly takes_timesteps?: boolean
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

/**
 * Names that differ only in case, or in how Unicode composes their letters (macOS takes them apart), are one name: some file
 * systems, and prompts, cannot distinguish them.
 */
export function sameName(a: string, b: string): boolean {
  return plain(a) === plain(b)
}

function plain(name: string): string {
  return name.normalize('NFC').toLowerCase()
}

/** Undefined if there is no entry of this name. */
export function findNamed<T extends { readonly name: string }>(
  entries: readonly T[],
  name: string,
): T | undefined {
  return entries.find((entry) => sameName(entry.name, name))
}
