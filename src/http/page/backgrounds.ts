import { AppError } from '../../jobs/errors.ts'
import { describeValue, listed } from '../../jobs/wording.ts'

/**
 * What a product can be set on. A scene is drawn by the model from words; a finish is cut out and laid on exactly what was
 * asked for, whatever the model draws. In the API a scene is words of the prompt and a finish is `finish.background`: the
 * form has one field for both (`wording.ts` and `form-finish.ts` read it back).
 */
export interface Background {
  /** Also the name of its style in swatches.css. */
  readonly value: string
  readonly label: string
  /** Where the product is: words for the prompt. */
  readonly place: string
  /** How this place is lit unless a light is chosen. */
  readonly light?: string
  /** What the finish makes of it; `own` is a colour that is chosen beside it. */
  readonly finish?: 'own' | 'transparent' | `#${string}`
}

/** A plain white set is the easiest to cut a product out of. */
const plain = { place: 'on a white background', light: 'soft light' } as const

export const finishes: readonly Background[] = [
  { value: 'pure', label: 'Pure white', ...plain, finish: '#ffffff' },
  { value: 'transparent', label: 'Transparent', ...plain, finish: 'transparent' },
  { value: 'colour', label: 'Own colour', ...plain, finish: 'own' },
]

export const scenes: readonly Background[] = [
  { value: 'white', label: 'Studio white', ...plain },
  { value: 'dark', label: 'Dark', place: 'on a dark background', light: 'dramatic lighting' },
  { value: 'wood', label: 'Wood', place: 'on a wooden table' },
  { value: 'marble', label: 'Marble', place: 'on a marble table' },
  { value: 'gradient', label: 'Grey gradient', place: 'on a grey gradient background' },
  { value: 'blue', label: 'Pastel blue', place: 'on a light blue background' },
  { value: 'pink', label: 'Pastel pink', place: 'on a light pink background' },
  { value: 'beige', label: 'Beige', place: 'on a beige background' },
]

const backgrounds = [...finishes, ...scenes]

/** Undefined if none is chosen. Throws `invalid_request` for an unknown one. */
export function findBackground(value: string): Background | undefined {
  if (value === '') return undefined
  const background = backgrounds.find((each) => each.value === value)
  if (background !== undefined) return background
  const message = `background must be empty or one of ${listed(backgrounds.map((each) => each.value))}, but was ${describeValue(value)}.`
  throw new AppError('invalid_request', message, { param: 'background' })
}
