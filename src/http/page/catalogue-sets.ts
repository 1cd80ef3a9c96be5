import type { Offer } from '../../jobs/offer.ts'
import type { Look } from '../../jobs/serving/workspace.ts'
import { finishes, scenes } from './backgrounds.ts'
import { chosenModel } from './form.ts'
import { type FormValues, readFields, requestBody } from './form-values.ts'

/** The sets of a run: each ticked background with each ticked look, made as the studio's form would make them. */

/** A colour of one's own is in looks. */
export const setChoices = [...finishes.filter(({ finish }) => finish !== 'own'), ...scenes]

interface Ticked {
  /** The words, with `{product}` in them. */
  readonly prompt: string
  readonly preset: string
  readonly sets: readonly string[]
  readonly looks: readonly Look[]
  /** Some rows have a photo, whose product is kept. */
  readonly photos: boolean
}

interface NamedSet {
  readonly name: string
  readonly template: Record<string, unknown>
}

/** Of a look: what belongs to one picture, or is counted otherwise in a run. */
const notOfRun = { seed: '', count: '', many: '', init_image: '', mask: '', keep: '', strength: '' } as const

export function setsOfRun(offer: Offer, { prompt, preset, sets, looks, photos }: Ticked): NamedSet[] {
  const made = (look: Look | undefined, set: string | undefined): NamedSet => {
    const values: FormValues = readFields({
      ...look?.values,
      ...notOfRun,
      prompt,
      ...(set === undefined ? {} : { background: set }),
      ...(preset === '' ? {} : { finish_preset: preset }),
    })
    const body = requestBody(values, chosenModel(offer, values))
    const name = [look === undefined ? '' : fileWords(look.name), set ?? ''].filter((each) => each !== '')
    return {
      name: name.join('-') || 'described',
      template: { ...body, ...(photos ? { init_image: '{photo}', keep: '{keep}' } : {}) },
    }
  }
  const named = (looks.length === 0 ? [undefined] : looks).flatMap((look) =>
    (sets.length === 0 ? [undefined] : sets).map((set) => made(look, set)),
  )
  // two looks may differ in what no file name may have
  return named.map((set, index) => {
    const twice = named.slice(0, index).filter(({ name }) => name === set.name).length
    return twice === 0 ? set : { ...set, name: `${set.name}-${twice + 1}` }
  })
}

/** A name of somebody's look as a part of a file name. */
function fileWords(name: string): string {
  return name.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || 'look'
}
