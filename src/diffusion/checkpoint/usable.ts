import { CheckpointError, refused } from '../errors.ts'
import { misfit as loraMisfit } from '../lora/facts.ts'
import type { CheckpointFacts, ModelDescription } from './facts.ts'
import { families, familyAt } from './families.ts'
import { type Kind, refusal } from './kinds.ts'

/**
 * The one answer to "can this file be used as ...?", which every list, check and offer asks.
 * @returns why not; undefined if it can, with models that fit (see `misfit`)
 */
export function unusable(path: string, facts: CheckpointFacts, wanted: Kind): CheckpointError | undefined {
  const fault = refusal(wanted, facts)
  if (fault !== undefined) return refused(path, fault)
  const found = wanted === 'model' ? facts.model : facts.addOn
  return found instanceof CheckpointError ? found : undefined
}

/**
 * The one answer to "can this add-on be used with this model?"
 * @returns why not, to follow its name; undefined if it can, or if its sizes do not show it
 */
export function misfit({ lora, addOn }: CheckpointFacts, { sizes }: ModelDescription): string | undefined {
  if (lora !== undefined) return loraMisfit(lora, sizes)
  if (addOn === undefined || addOn instanceof CheckpointError) return undefined
  const { vae, vectorWidth } = addOn
  if (vectorWidth !== undefined && vectorWidth !== sizes.textWidth) {
    return `is made for ${familyWithWidth(vectorWidth)}, whose text encoder is ${vectorWidth} wide; this model's is ${sizes.textWidth} wide`
  }
  if (vae !== undefined && vae.channels !== sizes.channels) {
    return `is made for another model: it has ${vae.channels} latent channels, this model has ${sizes.channels}`
  }
  if (vae !== undefined && vae.scale !== sizes.scale) {
    return `is made for another model: it makes ${vae.scale} pixels of a latent, this model's makes ${sizes.scale}`
  }
  return undefined
}

function familyWithWidth(width: number): string {
  const family = familyAt(width)
  return family === undefined ? 'another model' : families[family].name
}
