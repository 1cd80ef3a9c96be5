import { type Static, Type } from 'typebox'
import type { AddOn, ModelInfo } from './offer.ts'
import { whyNot } from './offer.ts'

/**
 * How long a picture may take. `quality` is the model as it is; the others add a LoRA that was distilled to need few
 * steps, with the settings that it was made for: other pictures, sooner. docs/few-steps.md lists the LoRAs.
 */
export const paces = ['quality', 'quick', 'instant'] as const
type Pace = (typeof paces)[number]
export type FastPace = Exclude<Pace, 'quality'>

/** The settings that a LoRA was made for. */
const Recipe = Type.Object({
  sampler: Type.String(),
  schedule: Type.String(),
  steps: Type.Integer(),
  guidance_scale: Type.Number(),
  eta: Type.Optional(Type.Number()),
  timesteps: Type.Optional(Type.Array(Type.Integer())),
})

/** A recipe of a LoRA. Of several LoRAs the one with the lowest `order` is used. */
type PaceRecipe = Readonly<Omit<Static<typeof Recipe>, 'timesteps'>> & {
  readonly timesteps?: readonly number[]
  readonly order: number
}

export type PaceRecipes = Readonly<Partial<Record<FastPace, PaceRecipe>>>

/** A pace as a model has it. */
export const PaceView = Type.Object({
  name: Type.Enum(paces),
  available: Type.Boolean(),
  lora: Type.Optional(Type.String({ description: 'The LoRA that it adds.' })),
  ...Type.Partial(Recipe).properties,
  missing: Type.Optional(Type.String({ description: 'Why it is not available, and what to do.' })),
})

interface Found {
  readonly lora: AddOn
  readonly recipe: PaceRecipe
}

/**
 * The LoRA and settings of a pace for a model.
 * @param named LoRAs that a request names: if one of them has the pace, it is that one
 */
export function findPace(
  model: ModelInfo,
  loras: readonly AddOn[],
  pace: FastPace,
  named: readonly string[] = [],
): Found | undefined {
  const fitting = loras.flatMap((lora): Found[] => {
    const recipe = lora.paces?.[pace]
    return recipe === undefined || whyNot(lora, model) !== undefined ? [] : [{ lora, recipe }]
  })
  const sorted = fitting.sort((a, b) => a.recipe.order - b.recipe.order)
  return sorted.find(({ lora }) => named.includes(lora.name)) ?? sorted[0]
}

/** What to add for a pace, for Stable Diffusion 1.x. */
const sources: Readonly<Record<FastPace, string>> = {
  quick: 'ByteDance/Hyper-SD:Hyper-SD15-4steps-lora.safetensors',
  instant: 'ByteDance/Hyper-SD:Hyper-SD15-1step-lora.safetensors',
}

/** Why a model lacks a pace, and what to do, as sentences. */
export function missingPace(model: ModelInfo, loras: readonly AddOn[], pace: FastPace): string {
  const misfit = loras.find((lora) => lora.paces?.[pace] !== undefined)
  const reason = misfit && whyNot(misfit, model)
  const found = reason === undefined ? '' : ` The LoRA ${misfit?.name} ${reason}.`
  const missing = `The model ${model.name} has no LoRA for the pace ${pace}.${found}`
  return model.own_widths === true
    ? `${missing} None is published for a model of its size.`
    : `${missing} Add one with: npm run models -- add ${sources[pace]}`
}

/** The paces of a model, as clients are shown them. */
export function pacesOf(model: ModelInfo, loras: readonly AddOn[]): Static<typeof PaceView>[] {
  return paces.map((name) => {
    if (name === 'quality') return { name, available: true }
    const found = findPace(model, loras, name)
    if (found === undefined) return { name, available: false, missing: missingPace(model, loras, name) }
    const { order: _, timesteps, ...recipe } = found.recipe
    return {
      name,
      available: true,
      lora: found.lora.name,
      ...recipe,
      ...(timesteps && { timesteps: [...timesteps] }),
    }
  })
}
